//! Exchanges made up by chance, with and without the proxy: every part that HTTP leaves open is drawn.

use std::sync::Arc;

use crate::http::{Message, Wire};
use crate::rig::{Rig, route};
use crate::upstream::{Step, Upstream, send};

/// xorshift64: the same exchanges in every run.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() >> 8).unwrap() % limit
    }

    fn of<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[self.below(all.len())]
    }

    fn bytes(&mut self, most: usize) -> Vec<u8> {
        let len = self.below(most + 1);
        (0..len)
            .map(|_| u8::try_from(self.next() & 0xff).unwrap())
            .collect()
    }

    /// A field's value: whatever bytes one may hold.
    fn value(&mut self) -> Vec<u8> {
        let len = self.below(40);
        let mut value: Vec<u8> = (0..len)
            .map(|_| match self.below(8) {
                0 => b' ',
                1 => u8::try_from(0x80 + self.below(0x80)).unwrap(),
                _ => u8::try_from(0x21 + self.below(0x5e)).unwrap(),
            })
            .collect();
        value = value.trim_ascii().to_vec();
        value
    }

    /// Headers with names of any case, some of them twice in a row.
    fn headers(&mut self) -> Vec<u8> {
        const LETTERS: &[u8] = b"ABCDabcdXYZxyz0189-_.!#$%&'*+^`|~";
        let mut out = Vec::new();
        for number in 0..self.below(12) {
            let mut name: Vec<u8> = (0..self.below(10)).map(|_| *self.of(LETTERS)).collect();
            name.extend_from_slice(format!("X-{number}").as_bytes());
            for _ in 0..=self.below(2) {
                out.extend_from_slice(&name);
                out.extend_from_slice(self.of::<&[u8]>(&[b":", b": ", b":  "]));
                out.extend_from_slice(&self.value());
                out.extend_from_slice(b"\r\n");
            }
        }
        out
    }

    /// A body in some framing: its header, and the bytes behind the head in pieces. `true` where the end of the
    /// connection ends it.
    fn body(&mut self, may_end: bool) -> (Vec<u8>, Vec<Vec<u8>>, bool) {
        let body = self.bytes(3_000);
        match self.below(if may_end { 3 } else { 2 }) {
            0 => {
                let header = format!("Content-Length: {}\r\n", body.len()).into_bytes();
                (header, self.cut(&body), false)
            }
            1 => {
                let mut framed = Vec::new();
                for piece in self.cut(&body) {
                    let extension = self.of(&["", ";a", ";a=b", "; q=\"x\""]);
                    framed
                        .extend_from_slice(format!("{:x}{extension}\r\n", piece.len()).as_bytes());
                    framed.extend_from_slice(&piece);
                    framed.extend_from_slice(b"\r\n");
                }
                framed.extend_from_slice(b"0\r\n\r\n");
                (
                    b"Transfer-Encoding: chunked\r\n".to_vec(),
                    self.cut(&framed),
                    false,
                )
            }
            _ => (Vec::new(), self.cut(&body), true),
        }
    }

    fn cut(&mut self, bytes: &[u8]) -> Vec<Vec<u8>> {
        let mut pieces = Vec::new();
        let mut rest = bytes;
        while !rest.is_empty() {
            let at = 1 + self.below(rest.len());
            pieces.push(rest[..at].to_vec());
            rest = &rest[at..];
        }
        pieces
    }

    fn answer(&mut self) -> Vec<Step> {
        let status = *self.of(&[
            200, 201, 202, 206, 226, 299, 300, 303, 400, 402, 404, 418, 451, 499, 500, 503, 529,
            599,
        ]);
        let reason = *self.of(&["", "OK", "Rather  Odd", "not\tcanonical"]);
        let (framing, pieces, to_the_end) = self.body(true);
        let mut head = format!("HTTP/1.1 {status} {reason}\r\n").into_bytes();
        head.extend(self.headers());
        head.extend(framing);
        head.extend_from_slice(b"\r\n");
        let mut steps: Vec<Step> = self.cut(&head).into_iter().map(send).collect();
        steps.extend(pieces.into_iter().map(send));
        if to_the_end {
            steps.push(Step::Finish);
        }
        steps
    }

    /// A request without its target and host.
    fn request(&mut self) -> (&'static str, String, Vec<u8>) {
        let method = *self.of(&[
            "GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "QUERY", "x-odd",
        ]);
        let path = *self.of(&[
            "/",
            "/a/../b//c",
            "/%2F%00?",
            "/x?a=b&&c=%20+'(){}|",
            "/u/x:y@z;p=1",
        ]);
        let mut rest = self.headers();
        let mut body = Vec::new();
        if self.below(2) == 0 {
            let (framing, pieces, _) = self.body(false);
            rest.extend(framing);
            body = pieces.concat();
        }
        rest.extend_from_slice(b"\r\n");
        rest.extend(body);
        (method, path.to_owned(), rest)
    }
}

async fn exchange(
    to: std::net::SocketAddr,
    path: &str,
    number: usize,
    (method, rest): (&str, &[u8]),
) -> Message {
    let mut wire = Wire::connect(to).await;
    let mut request =
        format!("{method} {path} HTTP/1.1\r\nHost: {to}\r\nx-number: {number}\r\n").into_bytes();
    request.extend_from_slice(rest);
    wire.send(request).await;
    wire.response(method).await.expect("an answer").end_to_end()
}

#[tokio::test]
async fn exchanges_made_up_by_chance_are_the_same_with_and_without_the_proxy() {
    let mut chance = Chance(0x9e37_79b9_7f4a_7c15);
    let answers: Arc<Vec<Vec<Step>>> = Arc::new((0..200).map(|_| chance.answer()).collect());
    let given = Arc::clone(&answers);
    let upstream = Upstream::by(move |request| {
        let number: usize = request.header("x-number").unwrap().parse().unwrap();
        given[number].clone()
    })
    .await;
    let rig = Rig::to(&upstream.url()).await;
    // A request that may be sent again is held, and its answer's beginning awaited: another way through the proxy.
    let nobody = format!("http://{}", Upstream::nobody().await);
    let held = Rig::of("fake", route([(upstream.url(), None), (nobody, None)])).await;
    for number in 0..answers.len() {
        let (method, path, rest) = chance.request();
        let direct = exchange(upstream.address, &path, number, (method, &rest)).await;
        let asked = upstream.request().await.end_to_end();
        let is_final = direct.status() < 500;
        for rig in [Some(&rig), is_final.then_some(&held)]
            .into_iter()
            .flatten()
        {
            let proxied = exchange(
                rig.address,
                &format!("/u/fake{path}"),
                number,
                (method, &rest),
            )
            .await;
            assert_eq!(proxied, direct, "{number}: what the client got");
            assert_eq!(
                upstream.request().await.end_to_end(),
                asked,
                "{number}: what the upstream got"
            );
        }
    }
}
