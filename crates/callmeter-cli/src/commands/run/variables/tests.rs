//! The child's environment: what is led, what is left, and that nothing else changes.

use super::*;

const BASE: &str = "http://127.0.0.1:4711";

fn plan_of(environment: &[(&str, &str)], change: impl FnOnce(&mut Situation<'_>)) -> Plan {
    let get = |name: &str| {
        let found = environment.iter().find(|(known, _)| *known == name);
        found.map(|(_, value)| (*value).to_owned())
    };
    let is_own = |address: &Address| address.origin() == "http://127.0.0.1:2255";
    let mut situation = Situation {
        get: &get,
        in_file: &|_| false,
        is_own: &is_own,
        listens_at_ollama_host: false,
        is_forward_proxy: false,
    };
    change(&mut situation);
    situation.plan()
}

fn plan(environment: &[(&str, &str)]) -> Plan {
    plan_of(environment, |_| {})
}

fn set(plan: &Plan) -> BTreeMap<&'static str, String> {
    plan.variables(BASE)
}

fn left(plan: &Plan, name: &str) -> Option<Left> {
    plan.left
        .iter()
        .find(|(known, _)| *known == name)
        .map(|(_, why)| *why)
}

#[test]
fn without_variables_of_the_user_s_each_leads_to_its_provider() {
    let plan = plan(&[]);
    let set: Vec<_> = set(&plan)
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    assert_eq!(
        set,
        [
            "ANTHROPIC_API_BASE=http://127.0.0.1:4711/u/anthropic",
            "ANTHROPIC_API_URL=http://127.0.0.1:4711/u/anthropic",
            "ANTHROPIC_BASE_URL=http://127.0.0.1:4711/u/anthropic",
            "CO_API_URL=http://127.0.0.1:4711/u/cohere",
            "GEMINI_API_BASE=http://127.0.0.1:4711/u/gemini/v1beta",
            "GOOGLE_GEMINI_BASE_URL=http://127.0.0.1:4711/u/gemini",
            "GROQ_BASE_URL=http://127.0.0.1:4711/u/groq",
            "OLLAMA_API_BASE=http://127.0.0.1:4711/u/ollama",
            "OLLAMA_HOST=http://127.0.0.1:4711/u/ollama",
            "OPENAI_API_BASE=http://127.0.0.1:4711/u/openai/v1",
            "OPENAI_BASE_URL=http://127.0.0.1:4711/u/openai/v1",
        ]
    );
    assert!(plan.upstreams.is_empty() && plan.left.is_empty());
}

#[test]
fn a_variable_of_the_user_s_becomes_the_upstream_and_its_siblings_stay_unset() {
    let plan = plan(&[("OPENAI_BASE_URL", "https://my-gateway/team/v1/")]);
    let set = set(&plan);
    assert_eq!(
        set["OPENAI_BASE_URL"],
        format!("{BASE}/u/openai_base_url/team/v1/")
    );
    assert_eq!(
        plan.upstreams["openai_base_url"].origin,
        "https://my-gateway"
    );
    // LangChain reads this one first: set, it would send the gateway's key to OpenAI.
    assert!(!set.contains_key("OPENAI_API_BASE"));
    assert_eq!(left(&plan, "OPENAI_API_BASE"), Some(Left::Other));
    assert!(set.contains_key("ANTHROPIC_BASE_URL"));
}

#[test]
fn two_variables_of_one_provider_get_a_route_each() {
    let plan = plan(&[
        ("OPENAI_BASE_URL", "https://a/v1"),
        ("OPENAI_API_BASE", "http://b:8000/v1"),
        ("OLLAMA_HOST", "gpu-1"),
    ]);
    let set = set(&plan);
    assert_eq!(
        set["OPENAI_BASE_URL"],
        format!("{BASE}/u/openai_base_url/v1")
    );
    assert_eq!(
        set["OPENAI_API_BASE"],
        format!("{BASE}/u/openai_api_base/v1")
    );
    assert_eq!(plan.upstreams["openai_api_base"].origin, "http://b:8000");
    assert_eq!(set["OLLAMA_HOST"], format!("{BASE}/u/ollama_host"));
    assert_eq!(plan.upstreams["ollama_host"].origin, "http://gpu-1:11434");
}

#[test]
fn what_leads_to_a_callmeter_or_nowhere_is_left_alone() {
    let led = plan(&[
        ("OPENAI_BASE_URL", "http://127.0.0.1:2255/v1"),
        ("ANTHROPIC_BASE_URL", "not an address"),
    ]);
    assert_eq!(left(&led, "OPENAI_BASE_URL"), Some(Left::OwnProxy));
    assert_eq!(left(&led, "ANTHROPIC_BASE_URL"), Some(Left::Unreadable));
    let touched = |name: &&str| name.starts_with("OPENAI") || name.starts_with("ANTHROPIC");
    assert!(!set(&led).keys().any(touched));
    let led = plan(&[("AZURE_OPENAI_ENDPOINT", "https://x.openai.azure.com")]);
    assert_eq!(left(&led, "OPENAI_API_BASE"), Some(Left::Contradiction));
    assert!(set(&led).contains_key("OPENAI_BASE_URL"));
}

#[test]
fn a_user_in_an_address_stays_with_the_client() {
    let plan = plan(&[("OPENAI_BASE_URL", "https://me:secret@gateway/v1")]);
    let value = &set(&plan)["OPENAI_BASE_URL"];
    assert_eq!(
        value,
        "http://me:secret@127.0.0.1:4711/u/openai_base_url/v1"
    );
    assert_eq!(plan.upstreams["openai_base_url"].origin, "https://gateway");
    assert!(!format!("{plan:?}").contains("secret"));
}

#[test]
fn an_ollama_server_listens_where_it_always_did() {
    let plan = plan_of(&[], |situation| situation.listens_at_ollama_host = true);
    assert!(!set(&plan).contains_key("OLLAMA_HOST"));
    assert_eq!(left(&plan, "OLLAMA_HOST"), Some(Left::Listens));
}

#[test]
fn loopback_is_excepted_from_a_proxy_of_the_user_s_and_only_then() {
    assert!(!set(&plan(&[])).contains_key("NO_PROXY"));
    let led = set(&plan(&[("HTTPS_PROXY", "http://corp:3128")]));
    assert!(!led.contains_key("NO_PROXY"), "ours is plain http");
    let led = set(&plan(&[
        ("http_proxy", "http://corp:3128"),
        ("no_proxy", ".corp, 10.0.0.1"),
    ]));
    assert_eq!(led["no_proxy"], ".corp, 10.0.0.1,127.0.0.1");
    assert_eq!(led["NO_PROXY"], "127.0.0.1");
    let led = [
        ("HTTP_PROXY", "http://corp"),
        ("NO_PROXY", "*"),
        ("no_proxy", "127.0.0.1"),
    ];
    let led = set(&plan(&led));
    assert!(!led.contains_key("NO_PROXY") && !led.contains_key("no_proxy"));
}

#[test]
fn a_forward_proxy_takes_the_place_of_the_user_s() {
    let led = plan_of(&[("HTTP_PROXY", "http://corp")], |situation| {
        situation.is_forward_proxy = true
    });
    let led = set(&led);
    for name in FORWARD {
        assert_eq!(led[name], BASE);
    }
    assert!(!led.contains_key("NO_PROXY"));
}

#[test]
fn no_variable_that_authenticates_is_set() {
    let led = set(&plan(&[
        ("OPENAI_API_KEY", "k"),
        ("ANTHROPIC_AUTH_TOKEN", "t"),
    ]));
    let touched = |name: &&&str| {
        ["KEY", "TOKEN", "SECRET", "AUTH"]
            .iter()
            .any(|word| name.contains(word))
    };
    assert_eq!(led.keys().find(touched), None);
}

#[test]
fn a_run_within_another_only_names_its_caller() {
    let get = |name: &str| match name {
        "OPENAI_BASE_URL" => Some(format!("{BASE}/u/openai/v1")),
        "OLLAMA_HOST" => Some(format!("{BASE}/as/outer/u/ollama")),
        "CO_API_URL" => Some("https://elsewhere".to_owned()),
        _ => None,
    };
    let led = with_caller(BASE, "night job/7", &get);
    let led: Vec<_> = led
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    assert_eq!(
        led,
        [
            format!("OLLAMA_HOST={BASE}/as/night%20job%2F7/u/ollama"),
            format!("OPENAI_BASE_URL={BASE}/as/night%20job%2F7/u/openai/v1"),
        ]
    );
}

#[test]
fn a_variable_that_stands_in_a_file_of_the_program_s_is_not_hidden_by_ours() {
    let in_file = |name: &str| name == "OPENAI_BASE_URL";
    let with_file = |environment: &[(&str, &str)]| {
        let get = |name: &str| {
            let found = environment.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        Situation {
            get: &get,
            in_file: &in_file,
            is_own: &|_| false,
            listens_at_ollama_host: false,
            is_forward_proxy: false,
        }
        .plan()
    };
    let plan = with_file(&[]);
    assert_eq!(left(&plan, "OPENAI_BASE_URL"), Some(Left::InFile));
    assert_eq!(left(&plan, "OPENAI_API_BASE"), Some(Left::InFile));
    assert!(set(&plan).contains_key("ANTHROPIC_BASE_URL"));
    // One of the environment wins over the file with the program too.
    let plan = with_file(&[("OPENAI_BASE_URL", "https://gateway/v1")]);
    assert_eq!(
        set(&plan)["OPENAI_BASE_URL"],
        format!("{BASE}/u/openai_base_url/v1")
    );
}

#[test]
fn variables_of_a_run_that_is_no_more_are_known() {
    let get = |name: &str| match name {
        "OPENAI_BASE_URL" | "HTTPS_PROXY" => Some(format!("{BASE}/u/openai/v1")),
        "OLLAMA_HOST" => Some("http://gpu-1:11434".to_owned()),
        _ => None,
    };
    assert_eq!(leading_to(BASE, &get), ["OPENAI_BASE_URL", "HTTPS_PROXY"]);
}
