//! A proxy that does to connections what networks do: holds them, cuts them, loses an answer.
//!
//! In short: `let proxy = ChaosProxy::to(address); proxy.fault(Fault::LoseAnswer("COMMIT"));` and connect to
//! `proxy.address()`. Faults are tied to bytes that pass, not to time, so that a test says exactly where a line
//! breaks. A cut is a reset (RST), as of a host that lost its power or a firewall that forgot the connection.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// What becomes of bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// They pass.
    #[default]
    Pass,
    /// They are held, both ways, and nobody is told.
    Blackhole,
    /// New connections are reset; old ones pass.
    Refuse,
}

/// One thing that goes wrong, once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The connection is cut when the client sends this text; the server never sees it.
    CutBefore(&'static str),
    /// The server sees this text and acts on it; the connection is cut in place of its answer.
    LoseAnswer(&'static str),
    /// The connection is cut after so many more bytes from the server, perhaps within a message.
    CutAfter(usize),
    /// The client is told that the server says no more, after so many more bytes from it.
    HalfClose(usize),
}

#[derive(Debug, Default)]
struct State {
    mode: Mode,
    delay: Duration,
    faults: Vec<Fault>,
    lines: Vec<Arc<Line>>,
    accepted: u64,
    faulted: u64,
    is_over: bool,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A client's connection and the server's.
#[derive(Debug)]
struct Line {
    client: TcpStream,
    server: TcpStream,
    is_cut: Mutex<bool>,
    loses_answer: Mutex<bool>,
}

impl Line {
    /// Resets both ends: once nobody holds the sockets any more, they close with data thrown away.
    fn cut(&self) {
        *self.is_cut.lock().unwrap_or_else(PoisonError::into_inner) = true;
        for end in [&self.client, &self.server] {
            let _ = rustix::net::sockopt::set_socket_linger(end, Some(Duration::ZERO));
            // Wakes whoever reads, and tells the peer nothing.
            let _ = end.shutdown(Shutdown::Read);
        }
    }

    fn is_cut(&self) -> bool {
        *self.is_cut.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The proxy; it ends when dropped.
#[derive(Debug)]
pub struct ChaosProxy {
    address: SocketAddr,
    shared: Arc<Shared>,
}

impl ChaosProxy {
    /// A proxy to `server` on a port of its own.
    ///
    /// # Panics
    /// When this machine gives no port.
    pub fn to(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener
            .local_addr()
            .expect("a bound listener has an address");
        let shared = Arc::new(Shared::default());
        let here = Arc::clone(&shared);
        std::thread::spawn(move || accept(&listener, server, &here));
        Self { address, shared }
    }

    /// Where clients connect to.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Sets what becomes of bytes from now on.
    pub fn set(&self, mode: Mode) {
        self.shared.state().mode = mode;
        self.shared.changed.notify_all();
    }

    /// Holds every chunk for so long.
    pub fn delay(&self, delay: Duration) {
        self.shared.state().delay = delay;
    }

    /// Lets something go wrong, once.
    pub fn fault(&self, fault: Fault) {
        self.shared.state().faults.push(fault);
    }

    /// Cuts every connection now.
    pub fn cut(&self) {
        let lines = std::mem::take(&mut self.shared.state().lines);
        for line in lines {
            line.cut();
        }
        self.shared.changed.notify_all();
    }

    /// How many connections there were so far.
    pub fn accepted(&self) -> u64 {
        self.shared.state().accepted
    }

    /// How many faults came to pass.
    pub fn faulted(&self) -> u64 {
        self.shared.state().faulted
    }
}

impl Drop for ChaosProxy {
    fn drop(&mut self) {
        self.shared.state().is_over = true;
        self.cut();
        // Wakes the listener, which then sees that it is over.
        let _ = TcpStream::connect(self.address);
    }
}

fn accept(listener: &TcpListener, server: SocketAddr, shared: &Arc<Shared>) {
    for client in listener.incoming() {
        let Ok(client) = client else { continue };
        if shared.state().is_over {
            return;
        }
        if shared.state().mode == Mode::Refuse {
            let _ = rustix::net::sockopt::set_socket_linger(&client, Some(Duration::ZERO));
            continue;
        }
        // A server that is away looks to the client like one that hung up.
        let Ok(server) = TcpStream::connect(server) else {
            continue;
        };
        let _ = client.set_nodelay(true);
        let _ = server.set_nodelay(true);
        let line = Arc::new(Line {
            client,
            server,
            is_cut: Mutex::new(false),
            loses_answer: Mutex::new(false),
        });
        {
            let mut state = shared.state();
            state.accepted += 1;
            state.lines.push(Arc::clone(&line));
        }
        for is_to_server in [true, false] {
            let (line, shared) = (Arc::clone(&line), Arc::clone(shared));
            std::thread::spawn(move || {
                pump(&line, &shared, is_to_server);
                shared
                    .state()
                    .lines
                    .retain(|other| !Arc::ptr_eq(other, &line));
            });
        }
    }
}

/// What to do with a chunk.
enum Verdict {
    Forward,
    ForwardThenCut(usize),
    ForwardThenClose(usize),
    Cut,
}

fn pump(line: &Arc<Line>, shared: &Shared, is_to_server: bool) {
    let (mut from, mut to) = if is_to_server {
        (&line.client, &line.server)
    } else {
        (&line.server, &line.client)
    };
    let mut buffer = vec![0; 64 << 10];
    let mut tail: Vec<u8> = Vec::new();
    loop {
        let read = match from.read(&mut buffer) {
            Ok(0) | Err(_) => break,
            Ok(read) => read,
        };
        let chunk = buffer.get(..read).unwrap_or_default();
        if !hold(line, shared) {
            break;
        }
        let verdict = if is_to_server {
            to_server(line, shared, &mut tail, chunk)
        } else {
            to_client(line, shared, chunk)
        };
        let (length, after) = match verdict {
            Verdict::Forward => (read, None),
            Verdict::ForwardThenCut(length) => (length, Some(true)),
            Verdict::ForwardThenClose(length) => (length, Some(false)),
            Verdict::Cut => (0, Some(true)),
        };
        if to
            .write_all(chunk.get(..length).unwrap_or_default())
            .is_err()
        {
            break;
        }
        match after {
            None => {}
            Some(true) => return line.cut(),
            Some(false) => {
                let _ = to.shutdown(Shutdown::Write);
                return;
            }
        }
    }
    if !line.is_cut() {
        let _ = to.shutdown(Shutdown::Write);
    }
}

/// Waits as long as the mode and the delay ask for; says whether the line still stands.
fn hold(line: &Line, shared: &Shared) -> bool {
    let mut state = shared.state();
    let delay = state.delay;
    if !delay.is_zero() {
        let waited = shared
            .changed
            .wait_timeout_while(state, delay, |state| !state.is_over);
        state = waited.unwrap_or_else(PoisonError::into_inner).0;
    }
    while state.mode == Mode::Blackhole && !state.is_over && !line.is_cut() {
        state = shared
            .changed
            .wait(state)
            .unwrap_or_else(PoisonError::into_inner);
    }
    !state.is_over && !line.is_cut()
}

fn to_server(line: &Line, shared: &Shared, tail: &mut Vec<u8>, chunk: &[u8]) -> Verdict {
    // A text may lie across two chunks, but not in what has passed before.
    let passed = tail.len();
    tail.extend_from_slice(chunk);
    let mut state = shared.state();
    let contains = |text: &str| {
        let from = (passed + 1).saturating_sub(text.len());
        let fresh = tail.get(from..).unwrap_or_default();
        fresh
            .windows(text.len())
            .any(|part| part == text.as_bytes())
    };
    let at = state.faults.iter().position(|fault| match fault {
        Fault::CutBefore(text) | Fault::LoseAnswer(text) => contains(text),
        _ => false,
    });
    let fault = at.map(|at| state.faults.remove(at));
    if fault.is_some() {
        state.faulted += 1;
        tail.clear();
    }
    let keep = tail.len().saturating_sub(64);
    tail.drain(..keep);
    match fault {
        Some(Fault::CutBefore(_)) => Verdict::Cut,
        Some(_) => {
            *line
                .loses_answer
                .lock()
                .unwrap_or_else(PoisonError::into_inner) = true;
            Verdict::Forward
        }
        None => Verdict::Forward,
    }
}

fn to_client(line: &Line, shared: &Shared, chunk: &[u8]) -> Verdict {
    if *line
        .loses_answer
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
    {
        return Verdict::Cut;
    }
    let mut state = shared.state();
    let at = state
        .faults
        .iter()
        .position(|fault| matches!(fault, Fault::CutAfter(_) | Fault::HalfClose(_)));
    let Some(at) = at else {
        return Verdict::Forward;
    };
    let left = match state.faults.get(at) {
        Some(Fault::CutAfter(left) | Fault::HalfClose(left)) => *left,
        _ => return Verdict::Forward,
    };
    let is_cut = matches!(state.faults.get(at), Some(Fault::CutAfter(_)));
    if left > chunk.len() {
        let rest = left - chunk.len();
        if let Some(fault) = state.faults.get_mut(at) {
            *fault = if is_cut {
                Fault::CutAfter(rest)
            } else {
                Fault::HalfClose(rest)
            };
        }
        return Verdict::Forward;
    }
    state.faults.remove(at);
    state.faulted += 1;
    if is_cut {
        Verdict::ForwardThenCut(left)
    } else {
        Verdict::ForwardThenClose(left)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A server that answers every chunk with itself.
    fn echo() -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                std::thread::spawn(move || {
                    let mut buffer = [0; 1024];
                    while let Ok(read @ 1..) = (&stream).read(&mut buffer) {
                        if (&stream).write_all(&buffer[..read]).is_err() {
                            return;
                        }
                    }
                });
            }
        });
        address
    }

    fn ask(stream: &TcpStream, text: &str) -> std::io::Result<Vec<u8>> {
        let mut stream = stream;
        stream.write_all(text.as_bytes())?;
        let mut answer = vec![0; text.len()];
        stream.read_exact(&mut answer)?;
        Ok(answer)
    }

    #[test]
    fn bytes_pass_until_a_fault_meets_its_text() {
        let proxy = ChaosProxy::to(echo());
        let line = TcpStream::connect(proxy.address()).expect("the proxy");
        assert_eq!(ask(&line, "hello").expect("an answer"), b"hello");
        proxy.fault(Fault::LoseAnswer("COMMIT"));
        assert_eq!(ask(&line, "insert").expect("an answer"), b"insert");
        let error = ask(&line, "COMMIT").expect_err("no answer");
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
        assert_eq!((proxy.accepted(), proxy.faulted()), (1, 1));
    }

    #[test]
    fn a_cut_after_so_many_bytes_lets_these_pass() {
        let proxy = ChaosProxy::to(echo());
        proxy.fault(Fault::HalfClose(3));
        let mut line = TcpStream::connect(proxy.address()).expect("the proxy");
        line.write_all(b"hello").expect("sent");
        let mut answer = Vec::new();
        line.read_to_end(&mut answer).expect("an end");
        assert_eq!(answer, b"hel");
    }

    #[test]
    fn a_hole_holds_bytes_until_it_is_mended() {
        let proxy = ChaosProxy::to(echo());
        let line = TcpStream::connect(proxy.address()).expect("the proxy");
        proxy.set(Mode::Blackhole);
        line.set_read_timeout(Some(Duration::from_millis(20)))
            .expect("set");
        assert!(ask(&line, "hello").is_err());
        line.set_read_timeout(None).expect("set");
        proxy.set(Mode::Pass);
        let mut answer = [0; 5];
        (&line).read_exact(&mut answer).expect("the answer");
        assert_eq!(&answer, b"hello");
    }
}
