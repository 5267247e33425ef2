//! A Redis of a test's own, which it may wipe, stop and kill; and commands to any Redis, past the backends.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    net::{TcpListener, TcpStream},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

/// How long a server may take to start.
const PATIENCE: Duration = Duration::from_secs(20);

/// A server without persistence, gone at the end of the test.
pub struct Server {
    port: u16,
    process: Child,
    dir: tempfile::TempDir,
}

impl Server {
    pub fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        // Free a moment ago; if something else takes it, the test fails to start and says so.
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let process = run(port, &dir);
        let server = Self { port, process, dir };
        server.answers();
        server
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Ends the server without a word.
    pub fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    /// Starts it again, empty, at the same address.
    pub fn start_again(&mut self) {
        self.process = run(self.port, &self.dir);
        self.answers();
    }

    fn answers(&self) {
        let until = Instant::now() + PATIENCE;
        while try_redis(&self.url(), &["PING"]).is_err() {
            assert!(Instant::now() < until, "redis-server on port {} doesn't answer", self.port);
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn run(port: u16, dir: &tempfile::TempDir) -> Child {
    let port = port.to_string();
    let args = ["--port", &port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--loglevel", "warning"];
    let command = Command::new("redis-server").args(args).current_dir(dir.path()).stdout(Stdio::null()).spawn();
    command.expect("redis-server (apt-get install redis-server) is on the PATH")
}

/// Runs a command; fails the test when the server doesn't answer or refuses.
pub fn redis(url: &str, command: &[&str]) -> String {
    try_redis(url, command).unwrap_or_else(|error| panic!("{command:?}: {error}"))
}

/// Runs a command on a connection of its own. Arrays come as lines.
pub fn try_redis(url: &str, command: &[&str]) -> Result<String, std::io::Error> {
    let address = url.strip_prefix("redis://").expect("tests use plain redis://HOST:PORT").trim_end_matches('/');
    let stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    let mut request = format!("*{}\r\n", command.len());
    for part in command {
        request.push_str(&format!("${}\r\n{part}\r\n", part.len()));
    }
    (&stream).write_all(request.as_bytes())?;
    read_answer(&mut BufReader::new(&stream))
}

fn read_answer(reader: &mut BufReader<&TcpStream>) -> Result<String, std::io::Error> {
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let (kind, rest) = line.trim_end().split_at_checked(1).ok_or(std::io::ErrorKind::UnexpectedEof)?;
    let count = || rest.parse::<i64>().map_err(std::io::Error::other);
    match kind {
        "-" => Err(std::io::Error::other(rest.to_owned())),
        "$" if count()? >= 0 => {
            let mut bytes = vec![0; count()? as usize + 2];
            std::io::Read::read_exact(reader, &mut bytes)?;
            Ok(String::from_utf8_lossy(&bytes[..bytes.len() - 2]).into_owned())
        }
        "*" => (0..count()?).map(|_| read_answer(reader)).collect::<Result<Vec<_>, _>>().map(|all| all.join("\n")),
        "$" => Ok(String::new()),
        _ => Ok(rest.to_owned()),
    }
}
