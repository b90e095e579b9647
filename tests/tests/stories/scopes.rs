//! Does each who wants something have all of that, and nobody what is another's? Is a change taken
//! back that nobody confirms, and is whoever watches told of all?

use std::{
    io::{BufRead, BufReader, Write},
    os::unix::net::UnixStream,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use dataplane_user::{
    desired::log::{Outcome, Record},
    view::{Applied, Difference, Event, Resource, Revision},
};
use sekisho_tests::{Lab, Sekisho, build::ip, process::PATIENCE, traffic::TcpConn};

use crate::api::{Answer, ask};
use crate::cut::Connections;
use crate::town::{B_ADDRESSES, Site, Town};

/// What a scope says of blue's servers: they may be asked on this port, too.
fn may_be_asked(port: u16) -> String {
    format!(
        "version: 1
tenants:
  - name: blue
    security_groups:
      - name: server
        rules:
          - {{id: more, direction: ingress, protocol: tcp, port_range_min: {port}, port_range_max: {port}}}
"
    )
}

const RULE: &str = "tenants/blue/security_groups/server/rules/more";

fn apply(sekisho: &Sekisho<'_>, query: &str, text: &str) -> Result<Answer> {
    ask(sekisho.socket(), "POST", &format!("/api/v1/apply?name=a&{query}"), text.as_bytes())
}

fn applied(answer: &Answer) -> Result<Applied> {
    ensure!(answer.status == 200, "{answer:?}");
    Ok(serde_json::from_str(&answer.body)?)
}

fn object(sekisho: &Sekisho<'_>, path: &str) -> Result<Option<Resource>> {
    let answer = ask(sekisho.socket(), "GET", &format!("/api/v1/{path}"), b"")?;
    (answer.status == 200).then(|| Ok(serde_json::from_str(&answer.body)?)).transpose()
}

fn write(sekisho: &Sekisho<'_>, method: &str, path: &str, spec: &str) -> Result<Answer> {
    let body = format!("{{\"spec\": {spec}}}");
    ask(sekisho.socket(), method, &format!("/api/v1/{path}"), body.as_bytes())
}

#[test]
#[ignore = "needs root and BPF: cargo xtask test"]
fn each_scope_has_what_it_wants_and_no_more() -> Result<()> {
    let lab = Lab::new("scopes")?;
    let town = Town::build(&lab)?;
    let site = Site::town();
    let sekisho = Sekisho::start(&lab, &site.0)?;
    let mut connections = Connections::open(&town)?;
    let to = |port| (ip(B_ADDRESSES[0]), port).into();

    // It names what is another's by its name alone, and that stays the other's.
    let first = applied(&apply(&sekisho, "scope=shop", &may_be_asked(7020))?)?;
    ensure!(first.changes == [format!("+ {RULE}")], "{first:?}");
    let mut more = TcpConn::open(&town.blue_a, &town.blue_b, to(7020))?;
    more.expect_alive()?;
    let owner =
        |path: &str| Ok::<_, anyhow::Error>(object(&sekisho, path)?.map(|of| of.metadata.scope));
    ensure!(owner(RULE)?.as_deref() == Some("shop"), "whose is it?");
    ensure!(owner("tenants/blue")?.as_deref() == Some("site"), "blue was taken over");
    // Who says it again changes nothing.
    let again = applied(&apply(&sekisho, "scope=shop", &may_be_asked(7020))?)?;
    ensure!(again.changes.is_empty() && again.revision == first.revision, "{again:?}");
    ensure!(again.site_version == first.site_version, "{again:?}");

    // Who says otherwise of another's is told whose it is, and changes nothing, or takes it over.
    let other = apply(&sekisho, "scope=audit", &may_be_asked(7021))?.problem()?;
    ensure!(other.status == 409 && other.errors.len() == 1, "{other:?}");
    ensure!(other.errors[0].object.as_deref() == Some(RULE), "{other:?}");
    ensure!(other.detail.contains("`shop` wrote it otherwise (revision 2, 20"), "{other:?}");
    more.expect_alive()?;
    applied(&apply(&sekisho, "scope=audit&takeOver=true", &may_be_asked(7021))?)?;
    ensure!(owner(RULE)?.as_deref() == Some("audit"), "it is not taken over");
    more.send_to_server()?;
    more.expect_cut_to_server()?;
    // It is not the first one's any more, to whom it is gone.
    let none = applied(&apply(&sekisho, "scope=shop", "version: 1")?)?;
    ensure!(none.changes.is_empty(), "{none:?}");

    // A site file leaves what is others'; what it does not name any more it only takes away itself.
    sekisho.change(&site.without(&["blue-udp-v4"]).0)?;
    ensure!(owner(RULE)?.is_some(), "it went with the site file");
    sekisho.change(&site.0)?;
    let kept = applied(&apply(&sekisho, "scope=audit&prune=false", "version: 1")?)?;
    ensure!(kept.changes.is_empty(), "{kept:?}");
    // What one took away, nobody may need.
    let needed = apply(&sekisho, "scope=site", "version: 1")?.problem()?;
    ensure!(needed.status == 409 && needed.detail.contains(RULE), "{needed:?}");
    let gone = applied(&apply(&sekisho, "scope=audit", "version: 1")?)?;
    ensure!(gone.changes == [format!("- {RULE}")], "{gone:?}");

    // A file with any error changes nothing, and each error is told.
    let before = sekisho.status()?.site_version;
    let twice = may_be_asked(7020).replace(
        "        rules:\n",
        "        rules: [{id: more, direction: egress}]\n      - name: server\n        rules:\n",
    );
    let wrong = may_be_asked(7020).replacen("port_range_min: 7020", "port_range_min: 7030", 1);
    let wrong =
        wrong + "    ports: [{name: x, network: none, interface: y, mac: 02:00:00:00:00:99}]\n";
    for (query, text, status, words) in [
        ("scope=shop", wrong.as_str(), 422, &["port_range_min", "tenants/blue/ports/x"][..]),
        ("scope=shop", "version: 1\ntenants: [{nam: blue}]", 422, &["a:2:", "name"]),
        ("scope=shop", "version: 1\ntenants: [{name: blue}, {name: blue}]", 422, &["twice"]),
        ("scope=shop", &twice, 422, &["is there twice"]),
        ("scope=api", "version: 1", 400, &["is no scope of a file"]),
        ("scope=A%20b", "version: 1", 400, &["is no scope of a file"]),
        ("scope=shop&confirmTimeout=7", "version: 1", 400, &["`90s` or `2m`"]),
        ("scope=shop&confirmTimeout=25h", "version: 1", 400, &["`90s` or `2m`"]),
        ("scope=shop&prune=maybe", "version: 1", 400, &["prune"]),
    ] {
        let problem = apply(&sekisho, query, text)?.problem()?;
        ensure!(problem.status == status, "{query} {text}: {problem:?}");
        let said = format!("{problem:?}");
        ensure!(words.iter().all(|word| said.contains(word)), "{query} {text}: {problem:?}");
    }
    ensure!(sekisho.status()?.site_version == before, "a refusal changed something");
    connections.alive()
}

#[test]
#[ignore = "needs root and BPF: cargo xtask test"]
fn what_nobody_confirms_is_taken_back() -> Result<()> {
    let lab = Lab::new("confirm")?;
    let town = Town::build(&lab)?;
    let site = Site::town();
    let less = site.without(&["blue-tcp-v4", "blue-tcp-v6"]);
    let mut sekisho = Sekisho::start(&lab, &site.0)?;
    let mut connections = Connections::open(&town)?;
    let is_over = |sekisho: &Sekisho<'_>| -> Result<()> {
        let start = Instant::now();
        while !sekisho.status()?.unconfirmed.is_empty() {
            ensure!(start.elapsed() < PATIENCE, "it is not taken back");
            thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    };

    // Before the first revision there was nothing, and nobody means that.
    let first = sekisho.cli(&["rollback"])?;
    ensure!(first.stderr.contains("is the first of `site`"), "{first:?}");
    connections.alive()?;

    // An operator who cut himself off only has to wait, also if the daemon is killed meanwhile.
    sekisho.write(&less.0)?;
    let said = sekisho.cli(&["apply", "--confirm", "5s"])?.ok()?;
    ensure!(said.contains("`sekisho confirm`"), "{said}");
    connections.cut_to_server()?;
    let unconfirmed = sekisho.status()?.unconfirmed;
    ensure!(unconfirmed.len() == 1 && unconfirmed[0].revision == 2, "{unconfirmed:?}");
    let other = sekisho.apply(&site.0)?;
    ensure!(other.stderr.contains("revision 2 of `site` is not confirmed yet"), "{other:?}");
    sekisho.kill()?;
    sekisho.start_again()?;
    is_over(&sekisho)?;
    connections.revived()?;
    let late = sekisho.cli(&["confirm"])?;
    ensure!(late.stderr.contains("waits to be confirmed"), "{late:?}");

    // What is confirmed stays, and is taken back by whoever wants that.
    sekisho.write(&less.0)?;
    sekisho.cli(&["apply", "--confirm", "2s"])?.ok()?;
    let said = sekisho.cli(&["confirm"])?.ok()?;
    ensure!(said.contains("stays"), "{said}");
    thread::sleep(Duration::from_millis(2500));
    connections.cut_to_server()?;
    let tried = sekisho.cli(&["rollback", "--dry-run"])?.ok()?;
    ensure!(tried.contains("+ tenants/blue/security_groups/server/rules/blue-tcp-v4"), "{tried}");
    sekisho.cli(&["rollback"])?.ok()?;
    connections.revived()?;

    // What somebody else changed since is his: it is said, and nothing is taken back, unless it is
    // for want of somebody who confirms it; then all else is.
    let network = "tenants/blue/networks/inside";
    sekisho.write(&less.with("name: inside", "name: inside, mtu: 1400").0)?;
    sekisho.cli(&["apply", "--confirm", "3s"])?.ok()?;
    connections.cut_to_server()?;
    ensure!(write(&sekisho, "PATCH", network, "{\"mtu\": 1300}")?.status == 200, "it is another's");
    let refused = sekisho.cli(&["rollback"])?;
    ensure!(refused.stderr.contains("was written by `api` since"), "{refused:?}");
    connections.cut_to_server()?;
    is_over(&sekisho)?;
    connections.revived()?;
    let left = object(&sekisho, network)?.context("it went")?;
    ensure!(left.spec["mtu"] == 1300, "{left:?}");

    // All of it is told: what was when, and what it was about.
    let revisions: Vec<Revision> =
        serde_json::from_str(&sekisho.cli(&["revisions", "-o", "json"])?.ok()?)?;
    let scopes: Vec<_> = revisions.iter().map(|of| of.scope.as_str()).collect();
    ensure!(
        scopes == ["site", "site", "site", "site", "site", "site", "api", "site"],
        "{scopes:?}"
    );
    let second = sekisho.cli(&["revisions", "2"])?.ok()?;
    ensure!(second.contains("- tenants/blue/security_groups/server/rules/blue-tcp-v4"), "{second}");
    let both: Difference =
        serde_json::from_str(&sekisho.cli(&["revisions", "1..3", "-o", "json"])?.ok()?)?;
    // It went and came again, the same but for when it was written.
    let is_same = |of: &dataplane_user::view::Differing| {
        of.before.as_ref().map(|of| &of.spec) == of.after.as_ref().map(|of| &of.spec)
    };
    ensure!(both.objects.len() == 2 && both.objects.iter().all(is_same), "{both:?}");
    for (which, word) in
        [("9", "the last revision is 8"), ("1..x", "is no revision"), ("0", "is no revision")]
    {
        let refused = sekisho.cli(&["revisions", which])?;
        ensure!(refused.stderr.contains(word), "{which}: {refused:?}");
    }
    let refused = sekisho.cli(&["rollback", "7"])?;
    ensure!(refused.stderr.contains("7 is no revision of `site`"), "{refused:?}");
    let refused = sekisho.cli(&["rollback", "--scope", "nobody"])?;
    ensure!(refused.stderr.contains("nothing is known of what `nobody` changed"), "{refused:?}");
    sekisho.cli(&["rollback", "1"])?;
    connections.alive()
}

/// Whoever watches: what he is told, line by line.
struct Watcher(BufReader<UnixStream>);

impl Watcher {
    fn new(socket: &Path, path: &str, header: &str) -> Result<Self> {
        let mut stream = UnixStream::connect(socket)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        write!(stream, "GET /api/v1/{path} HTTP/1.1\r\nHost: a\r\n{header}\r\n")?;
        Ok(Self(BufReader::new(stream)))
    }

    /// The next line with this in front.
    fn line(&mut self, front: &str) -> Result<String> {
        loop {
            let mut line = String::new();
            ensure!(self.0.read_line(&mut line)? > 0, "there is nothing more");
            if let Some(rest) = line.strip_prefix(front) {
                return Ok(rest.trim_end().to_owned());
            }
        }
    }

    fn event(&mut self) -> Result<Event> {
        let line = self.line("{")?;
        Ok(serde_json::from_str(&format!("{{{line}"))?)
    }

    /// The events up to a bookmark, each as a sign and a path, and the bookmark's revision.
    fn revision(&mut self) -> Result<(Vec<String>, u64)> {
        let mut told = Vec::new();
        loop {
            let (sign, object) = match self.event()? {
                Event::Added { object } => ('+', object),
                Event::Modified { object } => ('~', object),
                Event::Deleted { object } => ('-', object),
                Event::Bookmark { resource_version } => return Ok((told, resource_version)),
                Event::Error { problem } => anyhow::bail!("{problem:?}"),
            };
            told.push(format!("{sign} {}", object.metadata.path));
        }
    }
}

#[test]
#[ignore = "needs root and BPF: cargo xtask test"]
fn whoever_watches_is_told_of_every_change_once() -> Result<()> {
    let lab = Lab::new("watch")?;
    let mut sekisho = Sekisho::start(&lab, &Site::town().0)?;
    let socket = sekisho.socket().to_owned();
    let network = "tenants/blue/networks/inside";
    let mtu = |bytes: u32| write(&sekisho, "PATCH", network, &format!("{{\"mtu\": {bytes}}}"));
    let mut all = Watcher::new(&socket, "watch", "")?;
    ensure!(all.revision()? == (vec![], 1), "it begins now");
    ensure!(mtu(1400)?.status == 200 && mtu(1400)?.status == 200, "it is taken");
    applied(&apply(&sekisho, "scope=shop", &may_be_asked(7020))?)?;
    ensure!(all.revision()? == (vec![format!("~ {network}")], 2), "the first change");
    ensure!(all.revision()? == (vec![format!("+ {RULE}")], 3), "the second");
    applied(&apply(&sekisho, "scope=shop", "version: 1")?)?;
    ensure!(all.revision()? == (vec![format!("- {RULE}")], 4), "the third");

    // Whoever was away is told what he missed, of what he asks for.
    let mut later =
        Watcher::new(&socket, "tenants/blue/networks?watch=true&resourceVersion=1", "")?;
    ensure!(later.revision()? == (vec![], 1), "where it begins");
    ensure!(later.revision()? == (vec![format!("~ {network}")], 2), "what was missed");
    ensure!(
        later.revision()? == (vec![], 3) && later.revision()? == (vec![], 4),
        "others' changes"
    );
    // As an event stream, from the last that was heard.
    let header = "Accept: text/event-stream\r\nLast-Event-ID: 2\r\n";
    let mut stream = Watcher::new(&socket, "watch", header)?;
    for id in ["2", "3", "4"] {
        ensure!(stream.line("id: ")? == id, "{id}");
    }
    for (path, status) in [("watch?resourceVersion=99", 400), ("watch?resourceVersion=x", 400)] {
        let refused = ask(&socket, "GET", &format!("/api/v1/{path}"), b"")?.problem()?;
        ensure!(refused.status == status, "{path}: {refused:?}");
    }

    // A thousand of them have a place, and leave some to others.
    let mut crowd: Vec<_> =
        (0..997).map(|_| Watcher::new(&socket, "watch", "")).collect::<Result<_>>()?;
    crowd.iter_mut().try_for_each(|of| of.revision().map(drop))?;
    let full = ask(&socket, "GET", "/api/v1/watch", b"")?.problem()?;
    ensure!(full.status == 503, "{full:?}");
    ensure!(mtu(1300)?.status == 200, "nobody is heard any more");
    for watcher in crowd.iter_mut().chain([&mut all, &mut later]) {
        ensure!(watcher.revision()? == (vec![format!("~ {network}")], 5), "one was not told");
    }
    drop(crowd);
    // Nobody who went keeps a place.
    let start = Instant::now();
    while Watcher::new(&socket, "watch", "")?.revision().is_err() {
        ensure!(start.elapsed() < PATIENCE, "there is no place again");
    }
    sekisho.stop()?.ok()?;
    ensure!(all.event().is_err(), "the daemon ended");
    sekisho.start_again()
}

#[test]
#[ignore = "needs root and BPF: cargo xtask test"]
fn whoever_changes_anything_is_in_the_log() -> Result<()> {
    let lab = Lab::new("log")?;
    let site = Site::town();
    let mut sekisho = Sekisho::start(&lab, &site.0)?;
    let log = |sekisho: &Sekisho<'_>, last: usize| -> Result<Vec<Record>> {
        let text = sekisho.cli(&["log", "-o", "json", "--last", &last.to_string()])?.ok()?;
        Ok(serde_json::from_str(&text)?)
    };
    let network = "tenants/blue/networks/inside";
    ensure!(write(&sekisho, "PATCH", network, "{\"mtu\": 1400}")?.status == 200, "it is taken");
    ensure!(write(&sekisho, "PATCH", network, "{\"mtu\": 1400}")?.status == 200, "it is so");
    ensure!(write(&sekisho, "PATCH", network, "{\"mtu\": 99}")?.status == 422, "it is too small");
    let tried = format!("{network}?dryRun=All");
    ensure!(write(&sekisho, "PATCH", &tried, "{\"mtu\": 1300}")?.status == 200, "it is tried");
    let refused = sekisho.apply(&site.0)?;
    ensure!(!refused.status.success(), "it is another's");
    sekisho.cli(&["apply", "--take-over", "--confirm", "1h"])?.ok()?;
    sekisho.cli(&["confirm"])?.ok()?;
    sekisho.cli(&["rollback"])?.ok()?;

    let records = log(&sekisho, 20)?;
    let told: Vec<_> = records
        .iter()
        .map(|of| {
            let is_done = matches!(of.outcome, Outcome::Done { .. });
            (of.operation.verb.as_str(), of.operation.what.as_str(), is_done)
        })
        .collect();
    let wanted = [
        ("apply", "site", true),
        ("patch", network, true),
        ("patch", network, false),
        ("apply", "site", false),
        ("apply", "site", true),
        ("confirm", "site", true),
        ("rollback", "site", true),
    ];
    ensure!(told == wanted, "{told:?}");
    let version = sekisho.status()?.site_version;
    let done = Outcome::Done { revision: 4, site_version: Some(version) };
    ensure!(records[6].outcome == done, "{:?}", records[6]);
    ensure!(records[1].operation.changes == [format!("+ {network}/mtu: 1400")], "{records:?}");
    // Who it was is known by the kernel.
    ensure!(records[0].operation.by.who == "sekisho", "{:?}", records[0]);
    for record in &records[1..] {
        let by = &record.operation.by;
        ensure!(by.who == "root" && by.from.starts_with("process "), "{record:?}");
    }
    let shown = sekisho.cli(&["log", "--last", "1"])?.ok()?;
    ensure!(
        shown.contains("root (the socket's peer") && shown.contains("rollback site"),
        "{shown}"
    );
    let whole = sekisho.cli(&["log", "--verify"])?.ok()?;
    let head = &records[6].digest;
    ensure!(whole.contains("7 records are whole") && whole.contains(head), "{whole}");

    // It goes on where it was, whatever became of the daemon, and tells what was done since.
    sekisho.kill()?;
    sekisho.start_again()?;
    ensure!(log(&sekisho, 20)? == records, "it is another after a kill");
    ensure!(write(&sekisho, "PATCH", network, "{\"mtu\": 1350}")?.status == 200, "it is taken");
    let last = log(&sekisho, 1)?;
    ensure!(last.len() == 1 && last[0].number == 8 && last[0].before == *head, "{last:?}");
    ensure!(log(&sekisho, 1000)?.len() == 8, "all of them");
    Ok(())
}
