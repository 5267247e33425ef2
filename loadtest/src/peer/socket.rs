//! The WebSocket under a peer: small buffers, so that tens of thousands fit.
