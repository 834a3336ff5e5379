//! An upstream on a raw socket: it sends the bytes that it is told to, when it is told to, and keeps what it got.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Mutex, Semaphore, mpsc};

use crate::http::{LIMIT, Message, Wire};

/// What an upstream does about a request.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    Send(Vec<u8>),
    /// Waits until the gate is opened once more.
    Gate,
    /// Ends its own direction and leaves the other open.
    Finish,
    /// Closes the connection.
    Close,
    /// Resets the connection.
    Reset,
}

pub(crate) fn send(bytes: impl AsRef<[u8]>) -> Step {
    Step::Send(bytes.as_ref().to_vec())
}

/// A whole answer with a JSON body.
pub(crate) fn json(status: u16, body: &str) -> Vec<Step> {
    typed(status, "application/json", body)
}

/// A whole answer with a body of this type.
pub(crate) fn typed(status: u16, content_type: &str, body: &str) -> Vec<Step> {
    let len = body.len();
    vec![send(format!(
        "HTTP/1.1 {status} X\r\nContent-Type: {content_type}\r\nContent-Length: {len}\r\n\r\n{body}"
    ))]
}

/// See the module.
pub(crate) struct Upstream {
    pub(crate) address: SocketAddr,
    gate: Arc<Semaphore>,
    connections: Arc<AtomicUsize>,
    requests: Mutex<mpsc::UnboundedReceiver<Message>>,
    gone: Mutex<mpsc::UnboundedReceiver<()>>,
}

impl Upstream {
    /// Answers every request with the same steps.
    pub(crate) async fn always(steps: Vec<Step>) -> Self {
        Self::by(move |_| steps.clone()).await
    }

    /// Answers as the request asks for.
    pub(crate) async fn by(answer: impl Fn(&Message) -> Vec<Step> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let gate = Arc::new(Semaphore::new(0));
        let (tell, requests) = mpsc::unbounded_channel();
        let (tell_gone, gone) = mpsc::unbounded_channel();
        let answer = Arc::new(answer);
        let opened = Arc::clone(&gate);
        let connections = Arc::new(AtomicUsize::new(0));
        let accepted = Arc::clone(&connections);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                accepted.fetch_add(1, Ordering::Relaxed);
                let (answer, gate) = (Arc::clone(&answer), Arc::clone(&opened));
                let (tell, tell_gone) = (tell.clone(), tell_gone.clone());
                tokio::spawn(async move {
                    serve(Wire::new(stream), &*answer, &gate, &tell).await;
                    let _ = tell_gone.send(());
                });
            }
        });
        Self {
            address,
            gate,
            connections,
            requests: Mutex::new(requests),
            gone: Mutex::new(gone),
        }
    }

    /// An address at which nobody listens.
    pub(crate) async fn nobody() -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        listener.local_addr().unwrap()
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Lets it go on.
    pub(crate) fn open_gate(&self) {
        self.gate.add_permits(1);
    }

    /// The next request that it got.
    pub(crate) async fn request(&self) -> Message {
        let mut requests = self.requests.lock().await;
        let next = tokio::time::timeout(LIMIT, requests.recv()).await;
        next.expect("a request in time").unwrap()
    }

    /// How many connections it got so far.
    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    /// Whether it got no further request.
    pub(crate) async fn got_no_more(&self) -> bool {
        self.requests.lock().await.try_recv().is_err()
    }

    /// Waits until a connection to it has ended.
    pub(crate) async fn lost_a_client(&self) {
        let mut gone = self.gone.lock().await;
        let next = tokio::time::timeout(LIMIT, gone.recv()).await;
        next.expect("a connection that ends in time").unwrap();
    }
}

async fn serve(
    mut wire: Wire,
    answer: &(dyn Fn(&Message) -> Vec<Step> + Send + Sync),
    gate: &Semaphore,
    tell: &mpsc::UnboundedSender<Message>,
) {
    while let Some(request) = wire.request().await {
        let steps = answer(&request);
        let _ = tell.send(request);
        for step in steps {
            match step {
                Step::Send(bytes) => {
                    if wire.stream.write_all(&bytes).await.is_err() {
                        return;
                    }
                }
                // Whoever leaves while it waits is noticed.
                Step::Gate => tokio::select! {
                    permit = gate.acquire() => permit.unwrap().forget(),
                    has_more = wire.more() => if !has_more { return },
                },
                Step::Finish => wire.stream.shutdown().await.unwrap(),
                Step::Close => return,
                Step::Reset => return reset(wire.stream),
            }
        }
    }
}

fn reset(stream: TcpStream) {
    #[allow(deprecated)]
    stream.set_linger(Some(std::time::Duration::ZERO)).unwrap();
    drop(stream);
}
