//! The page: HTML without scripts.

use std::fmt::Display;
use std::time::{Duration, SystemTime};

use super::facts::{Facts, HealthFacts, LastFacts, ProblemFacts, RuleFacts, StoreFacts, Time};
use super::markup::Markup;
use super::recent::Entry;
use super::reference::{ComponentFacts, ReferenceFacts};
use super::table::Table;
use crate::api::audit::AuditDecision;

/// How the page looks.
pub(super) const STYLE: &str = include_str!("style.css");

/// How many references of a component are shown.
const MOST_REFERENCES: usize = 100;

/// How a state looks.
#[derive(Clone, Copy)]
enum Tone {
    Good,
    Bad,
    Warn,
    Idle,
}

/// The page, which shows itself again after so many seconds.
pub(super) fn page(facts: &Facts, refresh: Option<u32>) -> String {
    let mut page = Markup::default();
    page.html("<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n");
    if let Some(seconds) = refresh {
        page.html("<meta http-equiv=\"refresh\" content=\"");
        page.text(seconds).html("\">\n");
    }
    page.html("<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n");
    page.html("<meta name=\"color-scheme\" content=\"light dark\">\n<title>keyref");
    if !facts.app_id.is_empty() {
        page.html(" · ").text(&facts.app_id);
    }
    page.html("</title>\n<style>").html(STYLE);
    page.html("</style>\n</head>\n<body>\n");
    header(&mut page, facts);
    page.html("<main>\n");
    summary(&mut page, facts);
    problems(&mut page, facts);
    stores(&mut page, facts);
    components(&mut page, facts);
    audit(&mut page, facts);
    page.html("</main>\n");
    footer(&mut page, facts, refresh);
    page.html("</body>\n</html>\n");
    page.finish()
}

fn header(page: &mut Markup, facts: &Facts) {
    page.html("<header>\n<h1>keyref");
    if !facts.app_id.is_empty() {
        page.html(" <span>").text(&facts.app_id).html("</span>");
    }
    page.html("</h1>\n<p>");
    if facts.ready {
        page.markup(&state(Tone::Good, "ready"));
    } else {
        let waiting = facts.waiting_for.join(" and ");
        let text = format_args!("not ready: waits for {waiting}").to_string();
        page.markup(&state(Tone::Warn, text));
    }
    page.html("</p>\n</header>\n");
}

fn summary(page: &mut Markup, facts: &Facts) {
    let now = facts.time;
    page.html("<dl>\n");
    let mut fact = |name: &'static str, value: Markup| {
        page.html("<div><dt>").text(name).html("</dt><dd>");
        page.markup(&value).html("</dd></div>\n");
    };
    let version = format!("{}, as Dapr {}", facts.version, facts.dapr_version);
    fact("Version", text(version));
    fact("Mode", text(facts.mode.unwrap_or("–")));
    if let Some(namespace) = &facts.namespace {
        fact("Namespace", text(namespace));
    }
    fact("Started", moment(facts.started, now));
    if let Some(loaded) = facts.loaded {
        fact("Loaded", moment(loaded, now));
    }
    if let Some(reload) = &facts.reload {
        let mut value = moment(reload.time, now);
        value.html(" ").markup(&match reload.outcome {
            "whole" => state(Tone::Good, "taken over"),
            "partial" => state(Tone::Warn, "taken over in part"),
            _ => state(Tone::Bad, "not taken over"),
        });
        fact("Last reload", value);
    }
    if let Some(resolving) = &facts.resolving {
        let mut value = resolving
            .refreshed
            .map_or_else(Markup::default, |time| moment(time, now));
        let every = format!("; every {}", span(resolving.every));
        value.html(if value.is_empty() { "not yet" } else { "" });
        value.text(every);
        fact("Components resolved", value);
    }
    if let Some(cache) = &facts.cache {
        let value = format!(
            "{} kept, {} hits, {} misses, {} stale",
            cache.entries,
            cache.hits + cache.negative_hits,
            cache.misses,
            cache.stale
        );
        fact("Cache", text(value));
    }
    page.html("</dl>\n");
}

fn problems(page: &mut Markup, facts: &Facts) {
    let reload = facts.reload.as_ref();
    let lost = reload.map_or(&[][..], |reload| &reload.problems);
    if lost.is_empty() && facts.problems.is_empty() {
        return;
    }
    page.html("<section aria-labelledby=\"problems\">\n<h2 id=\"problems\">Problems</h2>\n");
    let columns = &["Where", "Class", "About", "What", "Effect"];
    let mut table = Table::new("What is wrong with the files", columns);
    let mut row = |problem: &ProblemFacts, effect: &'static str| {
        let place = match (&problem.document, problem.line, problem.column) {
            (Some(document), Some(line), Some(column)) => {
                long(format_args!("{document}:{line}:{column}"))
            }
            _ => text("–"),
        };
        let is_error = problem.severity == "error";
        let tone = if is_error { Tone::Bad } else { Tone::Warn };
        let (component, property) = (problem.component.as_deref(), problem.property.as_deref());
        let about = [component.or(Some("–")), property];
        let about = about.into_iter().flatten();
        table.row([
            place,
            state(tone, problem.class),
            long(about.collect::<Vec<_>>().join(" / ")),
            long(&problem.message),
            text(effect),
        ]);
    };
    for problem in lost {
        row(problem, "not taken over by the last reload");
    }
    for problem in &facts.problems {
        row(problem, "reported when loaded");
    }
    table.finish(page, "");
    if let Some(more) = reload
        .map(|reload| reload.more_problems)
        .filter(|more| *more > 0)
    {
        page.html("<p>").text(more);
        page.html(" more of the last reload are in the log.</p>\n");
    }
    page.html("</section>\n");
}

fn stores(page: &mut Markup, facts: &Facts) {
    page.html("<section aria-labelledby=\"stores\">\n<h2 id=\"stores\">Stores</h2>\n");
    let columns = &[
        "Store",
        "Type",
        "State",
        "Asked",
        "Failed",
        "Last asked",
        "Cache",
        "Followed by",
    ];
    let mut table = Table::new("Stores and how they answer", columns);
    for store in &facts.stores {
        let mut kind = text(&store.store_type);
        kind.html(" <small>").text(&store.version).html("</small>");
        let health = store.health.as_ref();
        let count = |count: fn(&HealthFacts) -> u64| {
            text(health.map_or_else(|| "–".to_owned(), |health| count(health).to_string()))
        };
        let last = health.and_then(|health| health.last.as_ref());
        let followed = store.subscriptions.map(|number| number.to_string());
        let mut followed = text(followed.as_deref().unwrap_or("–"));
        if store.deaf {
            followed.html(" ");
            followed.markup(&state(Tone::Bad, "changes are not heard of"));
        }
        table.row([
            code(&store.name),
            kind,
            state_of(store, facts.time),
            count(|health| health.asked),
            count(|health| health.failed + health.abandoned),
            last.map_or_else(|| text("–"), |last| moment(last.time, facts.time)),
            store.cache.as_ref().map_or_else(|| text("–"), rule),
            followed,
        ]);
    }
    table.finish(page, "There are no stores.");
    page.html("</section>\n");
}

/// How a store does, and how it failed last.
fn state_of(store: &StoreFacts, now: Time) -> Markup {
    if !store.open {
        let class = store.class.unwrap_or("not opened");
        let mut markup = state(Tone::Bad, format_args!("not open: {class}"));
        if store.ignore_errors {
            markup.html(" <small>ignoreErrors</small>");
        }
        return markup;
    }
    let last = store
        .health
        .as_ref()
        .and_then(|health| health.last.as_ref());
    let failure = store.health.as_ref();
    let failure = failure.and_then(|health| health.last_failure.as_ref());
    let under_way = store.health.as_ref().map_or(0, |health| health.under_way);
    let mut markup = match last.map(|last| last.outcome) {
        None if under_way > 0 => state(Tone::Warn, "no answer yet"),
        None => state(Tone::Idle, "not asked yet"),
        Some("answered") => {
            let mut markup = state(Tone::Good, "answers");
            if let Some(LastFacts { time, outcome }) = failure {
                markup.html(" <small>").text(outcome).html(" ");
                markup.markup(&moment(*time, now)).html("</small>");
            }
            markup
        }
        Some("abandoned") => state(Tone::Bad, "does not answer in time"),
        Some(class) => state(Tone::Bad, format_args!("fails: {class}")),
    };
    if under_way > 0 && last.is_some() {
        markup
            .html(" <small>")
            .text(under_way)
            .html(" under way</small>");
    }
    markup
}

fn rule(rule: &RuleFacts) -> Markup {
    let mut markup = text(span(rule.ttl));
    let others = [(rule.negative, "absent"), (rule.stale, "stale")];
    for (time, name) in others.into_iter().filter(|(time, _)| !time.is_zero()) {
        markup.html(", ").text(name).html(" ").text(span(time));
    }
    markup
}

fn components(page: &mut Markup, facts: &Facts) {
    page.html("<section aria-labelledby=\"components\">\n");
    page.html("<h2 id=\"components\">Components</h2>\n");
    let columns = &["Component", "Type", "State", "References", "Declared in"];
    let mut table = Table::new("Components and what they refer to", columns);
    for component in facts.components.iter() {
        let mut kind = text(
            component
                .component_type
                .as_deref()
                .unwrap_or(component.kind),
        );
        kind.html(" <small>")
            .text(&component.version)
            .html("</small>");
        let place = format!("{}:{}", component.document, component.line);
        table.row([
            code(&component.name),
            kind,
            state_of_component(component),
            references(&component.references),
            long(place),
        ]);
    }
    table.finish(page, "There are no components.");
    page.html("</section>\n");
}

fn state_of_component(component: &ComponentFacts) -> Markup {
    match component.state {
        Some("resolved") => state(Tone::Good, "resolved"),
        Some("kept") => state(Tone::Warn, "kept from before"),
        Some(_) => state(Tone::Bad, "not resolved"),
        None => state(Tone::Idle, "loaded"),
    }
}

fn references(references: &[ReferenceFacts]) -> Markup {
    let mut markup = Markup::default();
    if references.is_empty() {
        return text("–");
    }
    markup.html("<ul>");
    for reference in references.iter().take(MOST_REFERENCES) {
        markup
            .html("<li>")
            .markup(&code(&reference.property))
            .html(" ← ");
        let names = [&reference.store, &reference.secret, &reference.key];
        for (index, name) in names.into_iter().flatten().enumerate() {
            markup.html(if index == 0 { "" } else { " / " });
            markup.markup(&code(name));
        }
        if let Some(variable) = &reference.variable {
            markup.html("environment ").markup(&code(variable));
        }
        match reference.state {
            None => {}
            Some("resolved") => {
                markup.html(" ").markup(&state(Tone::Good, "resolved"));
            }
            Some(class) => {
                markup.html(" ").markup(&state(Tone::Bad, class));
            }
        }
        markup.html("</li>");
    }
    if references.len() > MOST_REFERENCES {
        markup.html("<li>").text(references.len() - MOST_REFERENCES);
        markup.html(" more are in <a href=\"/status.json\">status.json</a></li>");
    }
    markup.html("</ul>");
    markup
}

fn audit(page: &mut Markup, facts: &Facts) {
    page.html("<section aria-labelledby=\"audit\">\n<h2 id=\"audit\">Recent requests</h2>\n");
    let columns = &["Time", "Caller", "Asked for", "Decision", "Outcome", "Took"];
    let mut table = Table::new("The last requests for secrets, the newest first", columns);
    for entry in &facts.audit {
        table.row(entry_cells(entry));
    }
    table.finish(page, "Nobody has asked for a secret.");
    page.html("</section>\n");
}

fn entry_cells(entry: &Entry) -> [Markup; 6] {
    let mut caller = text(entry.protocol);
    if let Some(peer) = entry.peer {
        caller.html(" ").text(peer);
    }
    if entry.token {
        caller.html(" <small>token</small>");
    }
    if let Some(agent) = &entry.agent {
        caller.html(" <small>").text(agent).html("</small>");
    }
    let mut asked = text(entry.operation);
    for (index, name) in [&entry.store, &entry.secret]
        .into_iter()
        .flatten()
        .enumerate()
    {
        asked.html(if index == 0 { " " } else { " / " });
        asked.markup(&code(name));
    }
    if let Some(served) = entry.served {
        asked.html(" <small>").text(served).html(" served</small>");
    }
    let mut decision = match entry.decision {
        AuditDecision::Allowed => state(Tone::Good, "allowed"),
        AuditDecision::Denied => state(Tone::Bad, "denied"),
        AuditDecision::None => state(Tone::Idle, "none"),
    };
    if entry.rule != "none" {
        decision.html(" <small>").text(entry.rule).html("</small>");
    }
    let tone = match entry.outcome {
        "found" => Tone::Good,
        "denied" => Tone::Bad,
        "absent" => Tone::Idle,
        _ => Tone::Warn,
    };
    let took = format!("{:.1} ms", entry.latency.as_secs_f64() * 1_000.0);
    let time = Time(entry.time);
    [
        instant(time, second(time).replace('T', " ")),
        caller,
        asked,
        decision,
        state(tone, entry.outcome),
        once(took),
    ]
}

fn footer(page: &mut Markup, facts: &Facts, refresh: Option<u32>) {
    page.html("<footer>\n<p>As of ");
    page.markup(&instant(facts.time, second(facts.time).replace('T', " ")));
    page.html(". <a href=\"/\">Show again</a>");
    match refresh {
        Some(seconds) => {
            page.html(", which happens every ").text(seconds);
            page.html(" s until <a href=\"/\">stopped</a>");
        }
        None => {
            page.html(", or <a href=\"/?refresh=5\">every 5 s</a>");
        }
    }
    page.html(". For scripts: <a href=\"/status.json\">status.json</a>.</p>\n</footer>\n");
}

fn text(text: impl Display) -> Markup {
    let mut markup = Markup::default();
    markup.text(text);
    markup
}

/// What is not broken into lines.
fn once(text: impl Display) -> Markup {
    let mut markup = Markup::default();
    markup.html("<span class=\"once\">");
    markup.text(text).html("</span>");
    markup
}

/// What may be long and is broken anywhere.
fn long(text: impl Display) -> Markup {
    let mut markup = Markup::default();
    markup.html("<span class=\"long\">");
    markup.text(text).html("</span>");
    markup
}

/// A name that somebody has made up.
fn code(name: &str) -> Markup {
    let mut markup = Markup::default();
    // Whatever direction it is written in, it does not reorder what stands beside it.
    markup
        .html("<code dir=\"auto\">")
        .text(name)
        .html("</code>");
    markup
}

fn state(tone: Tone, what: impl Display) -> Markup {
    let mut markup = Markup::default();
    markup.html(match tone {
        Tone::Good => "<span class=\"state good\">",
        Tone::Bad => "<span class=\"state bad\">",
        Tone::Warn => "<span class=\"state warn\">",
        Tone::Idle => "<span class=\"state idle\">",
    });
    markup.text(what).html("</span>");
    markup
}

/// How long ago something was.
fn moment(time: Time, now: Time) -> Markup {
    let ago = now.0.duration_since(time.0).unwrap_or_default();
    let shown = if ago < Duration::from_secs(1) {
        "just now".to_owned()
    } else {
        format!("{} ago", span(ago))
    };
    instant(time, shown)
}

/// A time, shown as this.
fn instant(time: Time, shown: impl Display) -> Markup {
    let mut markup = Markup::default();
    markup.html("<time datetime=\"").text(second(time));
    markup.html("\" title=\"").text(second(time)).html("\">");
    markup.text(shown).html("</time>");
    markup
}

/// A time to the second, in UTC.
fn second(Time(time): Time) -> String {
    jiff::Timestamp::try_from(time)
        .or_else(|_| jiff::Timestamp::try_from(SystemTime::UNIX_EPOCH))
        .map_or_else(|_| String::new(), |time| format!("{time:.0}"))
}

/// A time in its largest unit.
fn span(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0 => format!("{} ms", time.as_millis()),
        1..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        7_200..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} d", seconds / 86_400),
    }
}
