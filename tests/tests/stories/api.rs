//! Does the daemon answer whom it may, as RFC 9110 and RFC 9457 have it, whatever is sent?

use std::{
    fs,
    io::{Read, Write},
    os::unix::{fs::PermissionsExt, net::UnixStream},
    path::Path,
    thread,
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use dataplane_user::{
    api::for_readers,
    problem::{CONTENT_TYPE, Fault, Problem},
    view::{Resource, Resources, Written},
};
use rustix::{
    process::{Gid, Uid},
    thread::{set_thread_gid, set_thread_groups, set_thread_uid},
};
use sekisho_tests::{Lab, Sekisho, build::ip, traffic::TcpConn};
use serde_json::Value;

use crate::cut::Connections;
use crate::town::{B_ADDRESSES, Site, Town};

/// For how long anything is waited for.
const WAIT: Duration = Duration::from_secs(60);

/// An answer.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    head: String,
    pub body: String,
}

impl Answer {
    pub fn problem(&self) -> Result<Problem> {
        ensure!(self.head.contains(&format!("content-type: {CONTENT_TYPE}")), "{self:?}");
        let problem: Problem = serde_json::from_str(&self.body)?;
        ensure!(problem.status == self.status && !problem.title.is_empty(), "{self:?}");
        Ok(problem)
    }
}

/// What comes back when this is sent.
fn send(socket: &Path, text: &[u8]) -> Result<String> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(WAIT))?;
    // Who has been refused hears no more.
    let _ = stream.write_all(text);
    let mut said = Vec::new();
    let _ = stream.read_to_end(&mut said);
    Ok(String::from_utf8_lossy(&said).into_owned())
}

pub fn ask(socket: &Path, method: &str, path: &str, body: &[u8]) -> Result<Answer> {
    ask_if(socket, method, path, "", body)
}

/// The same with a header line more.
fn ask_if(socket: &Path, method: &str, path: &str, condition: &str, body: &[u8]) -> Result<Answer> {
    let condition = if condition.is_empty() { String::new() } else { format!("{condition}\r\n") };
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{condition}\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    let said = send(socket, &[head.as_bytes(), body].concat())?;
    let (head, body) = said.split_once("\r\n\r\n").with_context(|| said.clone())?;
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    Ok(Answer { status: status.context("no status")?, head: head.into(), body: body.into() })
}

#[test]
#[ignore = "needs root and BPF: cargo xtask test"]
fn what_cannot_be_answered_is_refused_as_a_problem() -> Result<()> {
    let lab = Lab::new("problems")?;
    let site = Site::town();
    let sekisho = Sekisho::start(&lab, &site.0)?;
    let before = sekisho.status()?.site_version;
    let refusals: [(&str, &str, &[u8], u16, &str); 9] = [
        ("GET", "/v1/nothing", b"", 404, "there is nothing at /v1/nothing"),
        ("DELETE", "/v1/status", b"", 405, "/v1/status does not take DELETE"),
        ("GET", "/api/v1/apply", b"", 405, "/api/v1/apply does not take GET"),
        ("POST", "/api/v1/apply?dryRun=maybe", b"", 400, "dryRun"),
        ("POST", "/api/v1/apply?name=a", b"\xff\xfe", 400, "it has to be UTF-8"),
        ("GET", "/v1/sessions?reveal=2", b"", 400, "reveal"),
        ("POST", "/v1/trace", b"{", 400, "EOF"),
        ("POST", "/v1/trace", b"{\"port\": 7}", 422, "Described"),
        ("POST", "/api/v1/apply?name=a", b"version: 7", 422, "version"),
    ];
    for (method, path, body, status, word) in refusals {
        let answer = ask(sekisho.socket(), method, path, body)?;
        let problem = answer.problem().with_context(|| format!("{method} {path}"))?;
        ensure!(problem.status == status && problem.detail.contains(word), "{path}: {problem:?}");
        ensure!(status != 405 || answer.head.contains("allow: "), "{answer:?}");
    }
    // Each error of a file, where it stands.
    let wrong = site.0.replacen("mac: 02:00:00:00:00:0b", "mac: 02:00", 1);
    let wrong = wrong.replacen("port_range_max: 7009", "port_range_max: 1", 1);
    let refused =
        ask(sekisho.socket(), "POST", "/api/v1/apply?name=a", wrong.as_bytes())?.problem()?;
    let [mac, range] = refused.errors.as_slice() else { bail!("{refused:?}") };
    ensure!(mac.pointer == "/tenants/0/ports/2/mac", "{mac:?}");
    ensure!(range.pointer == "/tenants/0/security_groups/1/rules/0/port_range_min", "{range:?}");
    for error in [mac, range] {
        let line = wrong.lines().nth(error.line.context("no line")? - 1).context("no such line")?;
        let marked: String = line.chars().skip(error.column.context("no column")? - 1).collect();
        ensure!(marked.starts_with("02:00,") || marked.starts_with("7000,"), "{error:?}: {marked}");
        ensure!(refused.detail.contains(&error.detail), "{refused:?}");
    }
    ensure!(sekisho.status()?.site_version == before, "something came into force");

    let healthy = [("/livez", "ok"), ("/readyz", "ok"), ("/healthz", "ok"), ("/version", "v1")];
    for (path, word) in healthy {
        let answer = ask(sekisho.socket(), "GET", path, b"")?;
        ensure!(answer.status == 200 && answer.body.contains(word), "{path}: {answer:?}");
    }
    Ok(())
}

#[test]
#[ignore = "needs root and BPF: cargo xtask test"]
fn what_is_no_request_is_hung_up_on() -> Result<()> {
    let lab = Lab::new("garbage")?;
    let sekisho = Sekisho::start(&lab, &Site::town().0)?;
    let large = format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "a".repeat(1 << 20));
    let many = format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(1000));
    let http2 = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    for garbage in ["\0\u{1}\u{2}\r\n", "GET\r\n\r\n", http2, &large, &many] {
        let said = send(sekisho.socket(), garbage.as_bytes())?;
        ensure!(said.is_empty() || said.starts_with("HTTP/1.1 4"), "{said}");
    }
    // A head that never ends is waited for half a minute, and keeps nobody from asking.
    let mut slow = UnixStream::connect(sekisho.socket())?;
    slow.set_read_timeout(Some(WAIT))?;
    slow.write_all(b"GET /livez HTTP/1.1\r\nHost:")?;
    sekisho.status()?;
    let mut said = String::new();
    slow.read_to_string(&mut said).context("it is waited for")?;
    ensure!(said.is_empty() || said.starts_with("HTTP/1.1 408"), "{said}");
    Ok(())
}

/// Connections that are taken at a time, and more.
const PLACES: usize = 1536;
const CONNECTIONS: usize = PLACES + 76;

#[test]
#[ignore = "needs root and BPF: cargo xtask test"]
fn who_comes_when_all_places_are_taken_is_hung_up_on() -> Result<()> {
    let lab = Lab::new("crowd")?;
    let sekisho = Sekisho::start(&lab, &Site::town().0)?;
    let idle = (0..CONNECTIONS).map(|_| {
        let stream = UnixStream::connect(sekisho.socket())?;
        stream.set_nonblocking(true)?;
        Ok(stream)
    });
    let mut idle = idle.collect::<Result<Vec<_>>>()?;
    for _ in 0..1000 {
        if idle.len() <= PLACES {
            break;
        }
        thread::sleep(Duration::from_millis(10));
        idle.retain_mut(|stream| !matches!(stream.read(&mut [0]), Ok(0)));
    }
    ensure!(idle.len() == PLACES, "{} have a place", idle.len());
    let said = send(sekisho.socket(), b"GET /livez HTTP/1.1\r\nHost: a\r\n\r\n")?;
    ensure!(said.is_empty(), "it is served: {said}");
    drop(idle);
    let served = (0..100).find_map(|_| {
        thread::sleep(Duration::from_millis(10));
        ask(sekisho.socket(), "GET", "/livez", b"").ok()
    });
    ensure!(served.is_some(), "whoever went takes up a place still");
    Ok(())
}

/// Groups that every Debian has, and their numbers.
const GROUP: (&str, u32) = ("daemon", 1);
const READERS: (&str, u32) = ("bin", 2);
const STRANGERS: u32 = 3;
const NOBODY: u32 = 65534;

/// Does something as nobody who is in this group.
fn with_group<T: Send>(group: u32, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    thread::scope(|scope| {
        let changed = scope.spawn(|| {
            let group = Gid::from_raw(group);
            set_thread_groups(&[group])?;
            set_thread_gid(group)?;
            set_thread_uid(Uid::from_raw(NOBODY))?;
            work()
        });
        changed.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

#[test]
#[ignore = "needs root and BPF: cargo xtask test"]
fn groups_may_ask_what_they_are_for() -> Result<()> {
    let lab = Lab::new("groups")?;
    let site = format!(
        "{}
    lines: [{{name: robot, number: \"+819000000001\", access: mobile, router: r}}]
accesses: [{{name: mobile, interface: nic-m, addresses: [10.5.0.254/24], next_hop: {{address: 10.5.0.1}}, pools: [100.64.0.0/16]}}]
entitlements: [{{tenant: red, access: mobile, numbers: [\"+819000000001\"]}}]
sessions: [{{access: mobile, number: \"+819000000001\", addresses: [100.64.0.1]}}]
",
        Site::town().0
    );
    let options = ["--group", GROUP.0, "--read-group", READERS.0];
    let mut sekisho = Sekisho::new(&lab, &site)?.with_options(&options);
    sekisho.start_again()?;
    // Whoever is not root may enter the lab's folder.
    for folder in lab.folder().ancestors().take(2) {
        fs::set_permissions(folder, fs::Permissions::from_mode(0o755))?;
    }
    let control = sekisho.socket();
    let read = for_readers(control);
    let apply = |socket: &Path| ask(socket, "POST", "/api/v1/apply?dryRun=All", b"");

    // Those of the group have all that root has.
    let revealed = with_group(GROUP.1, || {
        let applied = apply(control)?;
        ensure!(applied.status == 200, "{applied:?}");
        ask(control, "GET", "/v1/sessions?reveal=true", b"")
    })?;
    ensure!(revealed.body.contains("+819000000001"), "{revealed:?}");
    // Readers ask, and see no number.
    with_group(READERS.1, || {
        ensure!(UnixStream::connect(control).is_err(), "they may change something");
        let site = ask(&read, "GET", "/v1/site", b"")?;
        let told: Value = serde_json::from_str(&site.body)?;
        ensure!(told["tenants"][1]["lines"][0]["name"] == "robot", "{site:?}");
        for path in ["site", "sessions", "status", "counters", "drops", "flows"] {
            let answer = ask(&read, "GET", &format!("/v1/{path}"), b"")?;
            ensure!(answer.status == 200, "{path}: {answer:?}");
            ensure!(!answer.body.contains("9000000001"), "{path}: {answer:?}");
        }
        let objects = ["sessions", "tenants/red/lines", "tenants/red/lines/+819000000001@mobile"];
        for path in objects {
            let answer = ask(&read, "GET", &format!("/api/v1/{path}"), b"")?;
            ensure!(answer.status == 200 && answer.body.contains("@mobile"), "{path}: {answer:?}");
            ensure!(!answer.body.contains("9000000001"), "{path}: {answer:?}");
        }
        let changes = [
            ("GET", "/v1/sessions?reveal=true"),
            ("POST", "/api/v1/apply"),
            ("PUT", "/api/v1/tenants/red"),
            ("PATCH", "/api/v1/tenants/red"),
            ("DELETE", "/api/v1/tenants/red"),
        ];
        for (method, path) in changes {
            let refused = ask(&read, method, path, b"")?.problem()?;
            ensure!(refused.status == 403 && refused.detail.contains("only read"), "{refused:?}");
        }
        Ok(())
    })?;
    // Nobody else gets in.
    with_group(STRANGERS, || {
        ensure!(UnixStream::connect(control).is_err(), "strangers may change something");
        ensure!(UnixStream::connect(&read).is_err(), "strangers may read");
        Ok(())
    })?;
    let (control, read) = (control.to_owned(), read);
    sekisho.stop()?.ok()?;
    let is_left = control.exists() || read.exists();
    sekisho.start_again()?;
    ensure!(!is_left, "a socket is left behind");
    Ok(())
}

#[test]
#[ignore = "needs root and BPF: cargo xtask test"]
fn what_is_written_object_by_object_is_in_force_when_it_is_answered() -> Result<()> {
    let lab = Lab::new("objects")?;
    let town = Town::build(&lab)?;
    let mut sekisho = Sekisho::start(&lab, &Site::town().0)?;
    let mut connections = Connections::open(&town)?;
    let socket = sekisho.socket().to_owned();
    let ask = |method: &str, path: &str, condition: &str, body: &str| {
        let answer =
            ask_if(&socket, method, &format!("/api/v1/{path}"), condition, body.as_bytes());
        answer.with_context(|| format!("{method} {path}"))
    };
    let etag = |answer: &Answer| -> Result<String> {
        let line = answer.head.lines().find_map(|line| line.strip_prefix("etag: "));
        Ok(line.with_context(|| format!("{answer:?}"))?.to_owned())
    };

    // Rules go and come, and those who talk are cut and heard again.
    let rules =
        ["v4", "v6"].map(|of| format!("tenants/blue/security_groups/server/rules/blue-tcp-{of}"));
    let specs = rules.each_ref().map(|rule| ask("GET", rule, "", "").map(|answer| answer.body));
    for rule in &rules {
        let answer = ask("DELETE", rule, "", "")?;
        ensure!(answer.status == 200, "{answer:?}");
    }
    connections.cut_to_server()?;
    for (rule, spec) in rules.iter().zip(specs) {
        let resource: Resource = serde_json::from_str(&spec?)?;
        let body = serde_json::json!({ "spec": resource.spec }).to_string();
        let made = ask("PUT", rule, "If-None-Match: *", &body)?;
        ensure!(made.status == 201, "{made:?}");
        let written: Written = serde_json::from_str(&made.body)?;
        ensure!(written.site_version == sekisho.status()?.site_version, "{written:?}");
        ensure!(written.resource.is_some_and(|of| of.spec == resource.spec), "{made:?}");
        // Who writes what is there makes nothing new.
        let again = ask("PUT", rule, "", &body)?;
        ensure!(again.status == 200 && etag(&again)? == etag(&made)?, "{again:?}");
        let there = ask("PUT", rule, "If-None-Match: *", &body)?;
        ensure!(there.problem()?.status == 412, "{there:?}");
    }
    connections.revived()?;

    // Of two who read, the one that writes last is told who was faster.
    let network = "tenants/blue/networks/inside";
    let read = format!("If-Match: {}", etag(&ask("GET", network, "", "")?)?);
    let mtu = |bytes: u32| format!("{{\"spec\": {{\"mtu\": {bytes}}}}}");
    ensure!(ask("PATCH", network, &read, &mtu(1400))?.status == 200, "nobody was faster");
    let late = ask("PATCH", network, &read, &mtu(1300))?.problem()?;
    ensure!(late.status == 412 && late.detail.contains("by `api` at 20"), "{late:?}");
    let tried = ask("PATCH", &format!("{network}?dryRun=All"), "", &mtu(1300))?;
    ensure!(tried.status == 200 && tried.body.contains("mtu: 1400 → 1300"), "{tried:?}");
    let now = ask("GET", network, "", "")?;
    ensure!(now.body.contains("\"mtu\":1400"), "{now:?}");

    // What would not be a site is no change, and each object that says so is named.
    let before = (sekisho.status()?.site_version, ask("GET", "tenants/blue/ports", "", "")?.body);
    let refusals = [
        ("PATCH", network, mtu(99), 422, network, "/mtu"),
        ("DELETE", network, String::new(), 422, "tenants/blue/ports/a", "/network"),
        (
            "PATCH",
            "tenants/blue/ports/a",
            "{\"spec\": {\"name\": \"x\"}}".into(),
            422,
            "tenants/blue/ports/a",
            "",
        ),
        (
            "PUT",
            "tenants/blue/ports/x",
            "{\"spec\": {\"netwrok\": \"inside\"}}".into(),
            422,
            "tenants/blue/ports/x",
            "",
        ),
        ("DELETE", "tenants/blue", String::new(), 409, "", ""),
        ("PUT", "tenants/green/ports/x", "{\"spec\": {}}".into(), 404, "", ""),
        ("GET", "tenants/blue/ports/x", String::new(), 404, "", ""),
        ("GET", "tenants/green/ports", String::new(), 404, "", ""),
        ("GET", "tenants/blue/uplinks", String::new(), 404, "", ""),
        ("DELETE", "uplinks/none", String::new(), 404, "", ""),
        ("PUT", "tenants/blue/ports/x", "spec: {}".into(), 400, "", ""),
        ("PUT", "tenants/blue/ports/x?dryRun=yes", "{\"spec\": {}}".into(), 400, "", ""),
        ("POST", "tenants/blue/ports/x", "{\"spec\": {}}".into(), 405, "", ""),
    ];
    for (method, path, body, status, object, pointer) in refusals {
        let problem = ask(method, path, "", &body)?.problem()?;
        ensure!(problem.status == status, "{method} {path}: {problem:?}");
        let is_named = |fault: &Fault| fault.object.as_deref() == Some(object);
        let named = problem.errors.iter().find(|fault| is_named(fault));
        ensure!(object.is_empty() || named.is_some(), "{method} {path}: {problem:?}");
        ensure!(named.is_none_or(|fault| fault.pointer.starts_with(pointer)), "{problem:?}");
    }
    let after = (sekisho.status()?.site_version, ask("GET", "tenants/blue/ports", "", "")?.body);
    ensure!(after == before, "a refusal changed something");
    connections.alive()?;

    // A site file says nothing of what was written so, and is told by its lines what is wrong.
    let rule = r#"{"spec": {"direction": "ingress", "protocol": "tcp", "port_range_min": 7020}}"#;
    let rule = rule.replace("7020}", "7020, \"port_range_max\": 7020}");
    let path = "tenants/blue/security_groups/server/rules/more";
    ensure!(ask("PUT", path, "", &rule)?.status == 201, "it is made");
    let mut more = TcpConn::open(&town.blue_a, &town.blue_b, (ip(B_ADDRESSES[0]), 7020).into())?;
    let site = Site::town();
    let refused = sekisho.apply(&site.without(&["blue-udp-v4"]).0)?;
    let said = format!("{network}: `api` wrote it otherwise");
    ensure!(refused.stderr.contains(&said), "{refused:?}");
    sekisho.cli(&["apply", "--take-over"])?.ok()?;
    more.expect_alive()?;
    ensure!(ask("GET", path, "", "")?.status == 200, "it went with the file");
    ensure!(ask("GET", &path.replace("more", "blue-udp-v4"), "", "")?.status == 404, "it is kept");
    let refused = sekisho.apply(&site.with("[client]", "[cleint]").0)?;
    ensure!(refused.stderr.contains("site.yaml:"), "{refused:?}");
    for broken in ["version: 1\ntenats: []\n", "version: 1\ntenants: [\n", "", "version: 7\n"] {
        let refused = sekisho.apply(broken)?;
        ensure!(!refused.status.success(), "{broken:?} is in force: {refused:?}");
    }
    // What it takes away may be what another needs.
    let taken = sekisho
        .apply(&site.0.replace("name: server", "name: other").replace("[server]", "[other]"))?;
    ensure!(taken.stderr.contains(&format!("{path} was written by `api`")), "{taken:?}");
    sekisho.change(&site.0)?;
    more.expect_alive()?;

    // It is there after a kill, and so is a tenant that went with all that was its.
    let gone = ask("DELETE", "tenants/red?cascade=true", "", "")?;
    ensure!(gone.status == 200, "{gone:?}");
    sekisho.unbalanced("red's counters went with it");
    sekisho.kill()?;
    sekisho.start_again()?;
    ensure!(ask("GET", path, "", "")?.status == 200, "after a kill");
    more.expect_alive()?;
    let tenants: Resources = serde_json::from_str(&ask("GET", "tenants", "", "")?.body)?;
    let names: Vec<_> = tenants.items.iter().map(|of| of.metadata.name.as_str()).collect();
    ensure!(names == ["blue"], "{names:?}");
    connections.alive()
}

#[test]
#[ignore = "needs root and BPF: cargo xtask test"]
fn everything_that_the_document_names_can_be_asked_and_nothing_else() -> Result<()> {
    let lab = Lab::new("openapi")?;
    let sekisho = Sekisho::start(&lab, &Site::town().0)?;
    let document = ask(sekisho.socket(), "GET", "/openapi.json", b"")?;
    let document: Value = serde_json::from_str(&document.body)?;
    ensure!(document["openapi"] == "3.1.0", "{document}");
    let paths = document["paths"].as_object().context("no paths")?;
    ensure!(paths.len() > 40, "{} paths", paths.len());
    for (path, entry) in paths {
        // Nothing is called so: whatever is written is refused, but for what has no name.
        let url = path.replace("{name}", "none").replace("{tenant}", "none");
        let url = url.replace("{within}", "none").replace("{range}", "1");
        for method in ["get", "put", "post", "patch", "delete"] {
            if path.ends_with("/watch") && method == "get" {
                // It answers for as long as it is listened to.
                continue;
            }
            let answer = ask(sekisho.socket(), &method.to_uppercase(), &url, b"")?;
            let is_absent = answer.body.contains("there is nothing at");
            let is_named = !entry[method].is_null();
            // A list's URL is that of an object whose kind nobody knows.
            let is_list = entry["put"].is_null() && path.starts_with("/api/v1/");
            ensure!(answer.status < 500, "{method} {url}: {answer:?}");
            if is_named {
                ensure!(!is_absent && answer.status != 405, "{method} {url}: {answer:?}");
            } else {
                let is_refused = answer.status == 405 || is_list && answer.status >= 400;
                ensure!(is_refused, "{method} {url}: {answer:?}");
            }
        }
    }
    Ok(())
}
