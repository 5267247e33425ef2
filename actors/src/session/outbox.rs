//! The bounded queue of frames that wait for one socket.
