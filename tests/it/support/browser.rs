//! A real Chromium with a profile of its own, driven over WebDriver.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use base64::prelude::{BASE64_STANDARD, Engine};
use reqwest::Method;
use serde_json::{Value, json};
use tempfile::TempDir;
use testbed::until;

/// The deadline for a page to show the expected content.
const PATIENCE: Duration = Duration::from_secs(45);

/// The script that checks the accessibility of a page.
const AXE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/read-api/web/node_modules/axe-core/axe.min.js");

/// The script that returns the violations as lines.
const VIOLATIONS: &str = "return axe.run({ resultTypes: ['violations'] }).then(found => found.violations.flatMap(rule => \
    rule.nodes.map(node => `${rule.id} (${rule.impact}) at ${node.target}: ${node.failureSummary}`)))";

/// Keys without a character, as WebDriver writes them.
pub(crate) const ENTER: &str = "\u{e007}";
pub(crate) const ARROW_DOWN: &str = "\u{e015}";
pub(crate) const ESCAPE: &str = "\u{e00c}";
pub(crate) const TAB: &str = "\u{e004}";

/// The script that is true if no animation runs on the page, except for endless ones.
const STILL: &str = "return document.getAnimations().every(moves => \
    moves.playState !== 'running' || moves.effect.getTiming().iterations === Infinity)";

/// The key that identifies an element in WebDriver's JSON.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// A browser window. It closes when this value is dropped, and when the test is killed.
pub(crate) struct Browser {
    driver: Child,
    session: String,
    http: reqwest::Client,
    _profile: TempDir,
}

/// The size and the settings of a window.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Look {
    /// Width and height, CSS pixels.
    pub(crate) size: (u32, u32),
    pub(crate) dark: bool,
}

impl Look {
    pub(crate) const DESK: Self = Self { size: (1280, 800), dark: false };
}

impl Browser {
    /// Opens an empty window.
    pub(crate) async fn open(look: Look) -> Self {
        let profile = tempfile::tempdir().unwrap();
        let (driver, address) = start_driver();
        let http = reqwest::Client::builder().timeout(Duration::from_secs(60)).build().unwrap();
        let (width, height) = look.size;
        let capabilities = json!({ "capabilities": { "alwaysMatch": {
            "goog:loggingPrefs": { "browser": "ALL" },
            "goog:chromeOptions": { "args": [
                "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
                "--disable-background-networking", "--hide-scrollbars", "--lang=en-GB",
                // The browser ends when its driver ends.
                "--remote-debugging-pipe",
                format!("--window-size={width},{height}"),
                format!("--user-data-dir={}", profile.path().display()),
            ] },
        } } });
        let mut browser = Self { driver, session: format!("{address}/session"), http, _profile: profile };
        let session = browser.ask(Method::POST, "", capabilities).await.expect("chromium starts");
        browser.session = format!("{}/{}", browser.session, session["sessionId"].as_str().unwrap());
        browser.wear(look).await;
        browser
    }

    /// Changes the size and the theme of the window.
    pub(crate) async fn wear(&self, Look { size: (width, height), dark }: Look) {
        let metrics =
            json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600 });
        self.devtools("Emulation.setDeviceMetricsOverride", metrics).await;
        self.darken(dark).await;
    }

    /// Checks that the page has no accessibility fault, in its light and in its dark theme.
    pub(crate) async fn is_accessible(&self) {
        let axe = std::fs::read_to_string(AXE).expect("axe-core is there; if not: cd read-api/web && npm ci");
        self.script(&axe).await;
        let was_dark = self.script("return matchMedia('(prefers-color-scheme: dark)').matches").await == true;
        for dark in [!was_dark, was_dark] {
            self.darken(dark).await;
            self.holds("an end of all movement", STILL).await;
            let found = self.script(VIOLATIONS).await;
            assert_eq!(found, json!([]), "{found:#}\n{}", self.page().await);
        }
    }

    /// Presses keys, one after the other, on the element that has the focus.
    pub(crate) async fn press(&self, keys: &str) {
        let strokes = keys.chars().flat_map(|key| {
            ["keyDown", "keyUp"].map(|stroke| json!({ "type": stroke, "value": key.to_string() }))
        });
        let keyboard = json!({ "type": "key", "id": "keyboard", "actions": strokes.collect::<Vec<_>>() });
        self.ask(Method::POST, "/actions", json!({ "actions": [keyboard] })).await.unwrap();
    }

    /// Opens an address.
    pub(crate) async fn go(&self, url: &str) {
        self.ask(Method::POST, "/url", json!({ "url": url }))
            .await
            .unwrap_or_else(|why| panic!("{url}: {why}"));
    }

    /// Returns the address of the page.
    pub(crate) async fn address(&self) -> String {
        self.script("return location.href").await.as_str().unwrap().to_owned()
    }

    /// Runs a script in the page and returns its result.
    pub(crate) async fn script(&self, script: &str) -> Value {
        let body = json!({ "script": script, "args": [] });
        self.ask(Method::POST, "/execute/sync", body).await.unwrap_or_else(|why| panic!("{script}: {why}"))
    }

    /// Waits for an element and clicks on it.
    pub(crate) async fn click(&self, css: &str) {
        self.on(css, "click", json!({})).await;
    }

    /// Waits for an element and types into it.
    pub(crate) async fn write(&self, css: &str, text: &str) {
        self.on(css, "value", json!({ "text": text })).await;
    }

    /// Clears a field and types into it.
    pub(crate) async fn rewrite(&self, css: &str, text: &str) {
        self.on(css, "clear", json!({})).await;
        self.write(css, text).await;
    }

    /// Waits until the element's text contains `part`. Returns the whole text.
    pub(crate) async fn reads(&self, css: &str, part: &str) -> String {
        let mut last = None;
        let read = until("the page", PATIENCE, async || {
            last = self.text(css).await;
            let read = last.clone().filter(|text| text.contains(part));
            self.reload_if_cut_off(read.is_none()).await;
            read
        });
        match read.await {
            Ok(text) => text,
            Err(_) => panic!("{css} should say {part:?}, and says {last:?}; the page: {}", self.page().await),
        }
    }

    /// Waits until a script in the page returns true.
    pub(crate) async fn holds(&self, what: &str, script: &str) {
        let held = until(what, PATIENCE, async || {
            let holds = self.script(script).await == true;
            self.reload_if_cut_off(!holds).await;
            holds.then_some(())
        });
        if let Err(error) = held.await {
            panic!("{error}; the page: {}", self.page().await);
        }
    }

    /// Returns the element's text, or `None` if the element does not exist.
    pub(crate) async fn text(&self, css: &str) -> Option<String> {
        let script = format!("return document.querySelector({})?.textContent ?? null", json!(css));
        self.script(&script).await.as_str().map(str::to_owned)
    }

    /// Collects the garbage of the page. Returns the bytes of its JavaScript heap and the number of its nodes.
    pub(crate) async fn footprint(&self) -> (u64, u64) {
        self.devtools("Performance.enable", json!({})).await;
        self.devtools("HeapProfiler.collectGarbage", json!({})).await;
        let metrics = self.devtools("Performance.getMetrics", json!({})).await;
        let value = |name: &str| {
            let metric = metrics["metrics"].as_array().unwrap().iter().find(|one| one["name"] == name);
            metric.unwrap()["value"].as_f64().unwrap() as u64
        };
        (value("JSHeapUsedSize"), value("Nodes"))
    }

    /// Returns the errors that the browser logged since the last call, except for failed requests.
    pub(crate) async fn complaints(&self) -> Vec<String> {
        let log = self.ask(Method::POST, "/se/log", json!({ "type": "browser" })).await.unwrap();
        let lines = log.as_array().unwrap().iter();
        lines
            .filter(|line| line["level"] == "SEVERE" && line["source"] != "network")
            .map(|line| line["message"].as_str().unwrap().to_owned())
            .collect()
    }

    /// Saves a picture of the window under `docs/images/` if `MUSTER_SCREENSHOTS` is set.
    pub(crate) async fn picture(&self, name: &str) {
        if std::env::var_os("MUSTER_SCREENSHOTS").is_none() {
            return;
        }
        self.holds("an end of all movement", STILL).await;
        let picture = self.ask(Method::GET, "/screenshot", Value::Null).await.unwrap();
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/images");
        std::fs::create_dir_all(&folder).unwrap();
        let bytes = BASE64_STANDARD.decode(picture.as_str().unwrap()).unwrap();
        std::fs::write(folder.join(format!("{name}.png")), bytes).unwrap();
    }

    async fn on(&self, css: &str, action: &str, body: Value) {
        let mut last = String::new();
        // An element that is covered or being replaced may be usable a moment later.
        let done = until("an element", PATIENCE, async || {
            let attempt = async {
                let found = json!({ "using": "css selector", "value": css });
                let element = self.ask(Method::POST, "/element", found).await?;
                let id = element[ELEMENT].as_str().ok_or("no element")?;
                self.ask(Method::POST, &format!("/element/{id}/{action}"), body.clone()).await
            };
            let done = attempt.await.map_err(|why| last = why).ok();
            self.reload_if_cut_off(done.is_none()).await;
            done
        });
        if done.await.is_err() {
            panic!("{action} on {css}: {last}; the page: {}", self.page().await);
        }
    }

    /// Reloads the page if the browser cancelled its loading, which it does when the Swarm's networks
    /// change.
    async fn reload_if_cut_off(&self, in_doubt: bool) {
        if in_doubt && self.script("return location.protocol").await == "chrome-error:" {
            self.ask(Method::POST, "/refresh", json!({})).await.ok();
        }
    }

    async fn darken(&self, dark: bool) {
        let theme = if dark { "dark" } else { "light" };
        let features = json!({ "features": [{ "name": "prefers-color-scheme", "value": theme }] });
        self.devtools("Emulation.setEmulatedMedia", features).await;
    }

    async fn page(&self) -> String {
        let text = self.script("return `${location.href}\\n${document.body.innerText}`").await;
        text.as_str().unwrap_or_default().to_owned()
    }

    async fn devtools(&self, command: &str, parameters: Value) -> Value {
        let body = json!({ "cmd": command, "params": parameters });
        self.ask(Method::POST, "/goog/cdp/execute", body).await.unwrap()
    }

    async fn ask(&self, method: Method, path: &str, body: Value) -> Result<Value, String> {
        let mut request = self.http.request(method, format!("{}{path}", self.session));
        if !body.is_null() {
            request = request.json(&body);
        }
        let answer = request.send().await.map_err(|error| format!("the driver does not answer: {error}"))?;
        let succeeded = answer.status().is_success();
        let mut answer: Value = answer.json().await.map_err(|error| error.to_string())?;
        let value = answer["value"].take();
        if succeeded { Ok(value) } else { Err(value["message"].as_str().unwrap_or("no reason").to_owned()) }
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // The browser ends when its driver does.
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}

/// Starts a driver at a free port. The driver ends with this process.
fn start_driver() -> (Child, String) {
    for program in ["chromedriver", "chromium"] {
        let found = std::env::var_os("PATH")
            .is_some_and(|path| std::env::split_paths(&path).any(|folder| folder.join(program).exists()));
        assert!(found, "{program} is missing: apt-get install -y chromium chromium-driver");
    }
    // In one of some hundred starts, the driver ended before it printed a port.
    (0..5).find_map(|_| try_to_start_driver()).expect("chromedriver says its port")
}

fn try_to_start_driver() -> Option<(Child, String)> {
    let mut driver = Command::new("setpriv")
        .args(["--pdeathsig", "KILL", "chromedriver", "--port=0"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("setpriv is part of util-linux");
    // The pipe is only borrowed, because a driver whose output is closed ends.
    let said = BufReader::new(driver.stdout.as_mut().expect("it is piped"));
    let mut heard = Vec::new();
    let port = said.lines().map_while(Result::ok).find_map(|line| {
        let port =
            line.split_once("successfully on port ").map(|(_, port)| port.trim_end_matches('.').to_owned());
        heard.push(line);
        port
    });
    let Some(port) = port else {
        let ended = driver.wait();
        eprintln!("chromedriver did not start ({ended:?}) and said: {heard:#?}");
        return None;
    };
    Some((driver, format!("http://127.0.0.1:{port}")))
}
