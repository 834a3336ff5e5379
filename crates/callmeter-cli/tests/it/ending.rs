//! How `callmeter serve` ends: what is in flight, what it records of it, how long it waits, its exit code.

use std::io::{Read, Write};
use std::net::TcpStream;

use serde_json::json;

use crate::service::{HeldProvider, PATIENCE, Serve, rows, wait_until};
use crate::support::Place;

/// A stream of chat completions, as a client has it in hand.
struct InFlight(TcpStream);

impl InFlight {
    /// Asks for one, and waits until the provider has answered its first half.
    fn begin(serve: &Serve, provider: &HeldProvider) -> Self {
        let body = json!({ "model": "gpt-4o", "stream": true, "messages": [], "stream_options": { "include_usage": true } });
        let body = body.to_string();
        let mut stream = TcpStream::connect(serve.address()).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        write!(
            stream,
            "POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        )
        .unwrap();
        provider.got_one();
        let mut head = [0; 12];
        stream.read_exact(&mut head).unwrap();
        assert_eq!(&head, b"HTTP/1.1 200");
        Self(stream)
    }

    /// All that comes until the connection ends.
    fn rest(mut self) -> String {
        let mut rest = Vec::new();
        // A connection that breaks off is an end as well.
        let _ = self.0.read_to_end(&mut rest);
        String::from_utf8(rest).unwrap()
    }
}

fn serve(place: &Place, provider: &HeldProvider, drain: &str) -> Serve {
    let url = provider.url();
    let config = format!("[proxy.routes.openai]\nupstreams = [\"{url}\"]\n");
    Serve::with(place, &config, &["--drain", drain])
}

#[test]
fn what_is_in_flight_when_it_is_told_to_stop_ends_whole_and_is_stored() {
    let (place, mut provider) = (Place::new(), HeldProvider::start());
    let serve = serve(&place, &provider, "60s");
    let clients = [(); 2].map(|()| InFlight::begin(&serve, &provider));
    serve.tell();
    serve.until_it_takes_no_more();
    provider.let_go();
    for client in clients {
        let answer = client.rest();
        assert!(answer.contains("\"prompt_tokens\":11"), "{answer}");
        assert!(
            answer.ends_with("data: [DONE]\n\n\r\n0\r\n\r\n"),
            "{answer}"
        );
    }
    let (code, said) = serve.ended();
    assert_eq!(code, Some(0), "{said}");
    assert!(
        said.contains("passed 2 requests, 2 of them recorded\n"),
        "{said}"
    );
    let rows = rows(&place);
    assert_eq!(rows.len(), 2);
    for row in rows {
        assert_eq!(
            (&row["status"], &row["input_tokens"], &row["output_tokens"]),
            (&"ok".into(), &11.into(), &7.into())
        );
        assert_eq!(row["stream_complete"], true);
    }
}

#[test]
fn what_outlives_the_drain_is_cut_and_its_row_says_so() {
    let (place, provider) = (Place::new(), HeldProvider::start());
    let serve = serve(&place, &provider, "300ms");
    let client = InFlight::begin(&serve, &provider);
    serve.tell();
    let answer = client.rest();
    assert!(
        answer.contains("\"content\":\"Hi\"") && !answer.contains("[DONE]"),
        "{answer}"
    );
    assert!(
        !answer.ends_with("0\r\n\r\n"),
        "the client sees that it is cut"
    );
    let (code, said) = serve.ended();
    assert!(
        said.contains("passed 1 request, 1 of them recorded; some had not ended in time\n"),
        "{said}"
    );
    // Little time was left for the store; the exit code says whether it was enough.
    if code != Some(0) {
        assert_eq!(code, Some(3), "{said}");
        assert!(said.ends_with("1 call left in the spools\n"), "{said}");
        place.run(&["ship", "--once"]);
    }
    let rows = rows(&place);
    assert_eq!(rows.len(), 1);
    assert_eq!(
        (&rows[0]["status"], &rows[0]["http_status"]),
        (&"cancelled".into(), &200.into())
    );
    assert_ne!(rows[0]["stream_complete"], true);
}

#[test]
fn a_second_signal_ends_it_at_once_and_what_was_in_flight_is_an_aborted_row() {
    let (place, provider) = (Place::new(), HeldProvider::start());
    let mut serve = serve(&place, &provider, "10m");
    let client = InFlight::begin(&serve, &provider);
    serve.tell();
    serve.until_it_takes_no_more();
    assert!(serve.is_alive());
    serve.tell();
    let answer = client.rest();
    assert!(!answer.contains("[DONE]"), "{answer}");
    let (code, _) = serve.ended();
    assert_eq!(code, Some(3));
    // Whoever comes next takes it over.
    wait_until("the call is adopted", || {
        place.run(&["ship", "--once"]);
        !rows(&place).is_empty()
    });
    let rows = rows(&place);
    assert_eq!((rows.len(), &rows[0]["status"]), (1, &"aborted".into()));
}
