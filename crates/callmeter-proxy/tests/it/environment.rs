//! What the environment says of certificates and proxies, in a process of its own: this test, once more.

use std::process::Stdio;

use crate::http::{LIMIT, ask, post};
use crate::protocols::{REPLY, outbound_proxy, secure};
use crate::rig::Rig;

const NAME: &str = "environment::certificates_and_proxies_of_the_environment_are_obeyed";
const IS_CHILD: &str = "CALLMETER_TEST_IS_CHILD";

#[tokio::test]
async fn certificates_and_proxies_of_the_environment_are_obeyed() {
    if std::env::var_os(IS_CHILD).is_some() {
        return in_the_child().await;
    }
    let upstream = secure("upstream.test", &[b"http/1.1"]).await;
    let (proxy, mut asked) = outbound_proxy(upstream.address).await;
    let child = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", NAME])
        .env(IS_CHILD, "1")
        .env("SSL_CERT_FILE", &upstream.ca)
        .env("HTTPS_PROXY", format!("http://{proxy}"))
        .env("NO_PROXY", "direct.invalid")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let ended = tokio::task::spawn_blocking(move || child.wait_with_output());
    let ended = tokio::time::timeout(LIMIT, ended)
        .await
        .unwrap()
        .unwrap()
        .unwrap();
    assert!(
        ended.status.success(),
        "{}",
        String::from_utf8_lossy(&ended.stdout)
    );
    assert!(
        asked
            .recv()
            .await
            .unwrap()
            .starts_with("CONNECT upstream.test:443 ")
    );
    assert!(
        asked.try_recv().is_err(),
        "the other host is reached directly"
    );
}

async fn in_the_child() {
    let rig = Rig::with(|config| {
        for (name, url) in [
            ("through", "https://upstream.test"),
            ("direct", "https://direct.invalid"),
        ] {
            let route = callmeter_proxy::Route::to(url.parse().unwrap());
            config.routes.insert(name.to_owned(), route);
        }
    })
    .await;
    let got = ask(rig.address, post("/u/through/v1/messages", &[], "{}")).await;
    assert_eq!((got.status(), got.text()), (200, REPLY));
    let got = ask(rig.address, post("/u/direct/v1/messages", &[], "{}")).await;
    assert_eq!(
        (got.status(), got.header("x-callmeter-error")),
        (502, Some("upstream_unreachable"))
    );
}
