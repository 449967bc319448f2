//! The names by which the two ends agree on a wire.

use std::{fmt, sync::Arc};

use crate::{
    error::{BuildError, ConnectError},
    proto::{QMuxVersion, Wire},
};

/// An application's protocol, by the way its subprotocol is made from its name.
#[derive(Debug, Clone)]
pub(crate) enum Protocol {
    /// After the name of each version of QMux, and a dot.
    OfVersion(String),
    /// As it is (draft-lcurley-qmux-websocket-00 §Subprotocol Identifier).
    Bare(String),
}

/// Which subprotocols mean the QMux wire, in order of preference.
#[derive(Clone, Default)]
pub(crate) struct Subprotocols {
    pub(crate) protocols: Vec<Protocol>,
    pub(crate) protocol_required: bool,
    /// The names of older versions of QMux as well as that of the newest.
    pub(crate) older_versions: bool,
    /// Instead of what follows from the above.
    pub(crate) names: Option<Vec<String>>,
}

/// Leaves out the names that were given as they are: pages put tokens there.
impl fmt::Debug for Subprotocols {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subprotocols")
            .field("protocols", &self.protocols)
            .field("protocol_required", &self.protocol_required)
            .field("names", &self.names.as_ref().map(Vec::len))
            .finish()
    }
}

/// A name for where it may be seen. Where a page cannot set a header it puts its token among the names, and the other
/// end may select that, or repeat it: only a name of QMux's own form is shown.
pub(crate) struct Shown<'a>(pub(crate) &'a str);

impl<'a> Shown<'a> {
    fn text(&self) -> &'a str {
        if self.is_open() { self.0 } else { "another name" }
    }

    pub(crate) fn is_open(&self) -> bool {
        let form = "qmux-";
        self.0.get(..form.len()).is_some_and(|start| start.eq_ignore_ascii_case(form))
    }
}

impl fmt::Debug for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.is_open() {
            true => self.0.fmt(f),
            false => f.write_str(self.text()),
        }
    }
}

/// The subprotocol that the two ends have agreed on.
#[derive(Clone)]
pub(crate) struct Agreed {
    pub(crate) name: Arc<str>,
    is_open: bool,
}

impl Agreed {
    /// `is_protocol`: whether this end's names are those of [protocols](Subprotocols::are_protocols).
    pub(crate) fn new(name: impl Into<Arc<str>>, is_protocol: bool) -> Self {
        let name = name.into();
        Self { is_open: is_protocol || Shown(&name).is_open(), name }
    }

    /// For where it may be seen, as [`Shown`].
    #[cfg_attr(not(feature = "tracing"), expect(dead_code))]
    pub(crate) fn shown(&self) -> &str {
        if self.is_open { &self.name } else { Shown(&self.name).text() }
    }
}

impl fmt::Debug for Agreed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.is_open {
            true => self.name.fmt(f),
            false => Shown(&self.name).fmt(f),
        }
    }
}

impl Subprotocols {
    /// Whether the names are those of application protocols, which are no secret, and not given as they are.
    pub(crate) fn are_protocols(&self) -> bool {
        self.names.is_none()
    }

    /// The names themselves: each application protocol's, then those of QMux alone.
    pub(crate) fn names(&self) -> Result<Vec<String>, BuildError> {
        for Protocol::OfVersion(name) | Protocol::Bare(name) in &self.protocols {
            valid_token(name)?;
        }
        let mut names = Vec::new();
        for name in self.names.clone().unwrap_or_else(|| self.names_of_protocols()) {
            valid_token(&name)?;
            // W-42: another wire cannot be configured.
            if is_foreign(&name) {
                return Err(BuildError::ForeignProtocol(name));
            }
            // RFC 6455 §4.1: no name is offered twice. They are few, and a hash would be 3 kB of a page's download.
            if !names.contains(&name) {
                names.push(name);
            }
        }
        // W-12: at least one.
        if names.is_empty() { Err(BuildError::NoSubprotocol) } else { Ok(names) }
    }

    fn names_of_protocols(&self) -> Vec<String> {
        let count = if self.older_versions { QMuxVersion::ALL.len() } else { 1 };
        let versions = || QMuxVersion::ALL.iter().take(count).map(|version| version.name());
        let mut names = Vec::new();
        for protocol in &self.protocols {
            match protocol {
                Protocol::OfVersion(app) => {
                    // W-12, W-40: `qmux-02.<app>`, and the older version after it.
                    names.extend(versions().map(|version| format!("{version}.{app}")));
                }
                // W-41: a bare name is exactly that name.
                Protocol::Bare(name) => names.push(name.clone()),
            }
        }
        if !self.protocol_required {
            names.extend(versions().map(str::to_owned));
        }
        names
    }

    /// What a client offers on `wire`. Names are looked at even where they are not offered.
    pub(crate) fn offered(&self, wire: Wire) -> Result<Vec<String>, BuildError> {
        match (self.names(), wire) {
            // W-13: nothing is offered on js-ws.
            (Ok(_) | Err(BuildError::NoSubprotocol), Wire::JsWs) => Ok(Vec::new()),
            (names, _) => names,
        }
    }
}

/// What a server selected, if a client can speak that.
pub(crate) fn agreed(
    selected: Option<String>,
    wire: Wire,
    offered: &[String],
) -> Result<Option<String>, ConnectError> {
    let expected = match (&selected, wire) {
        // W-15 (RFC 6455 §4.1): nothing was offered.
        (selected, Wire::JsWs) => selected.is_none(),
        // W-14 (RFC 6455 §4.1): one of those that were offered.
        (None, _) => false,
        (Some(selected), _) => offered.contains(selected),
    };
    match expected {
        true => Ok(selected),
        false => Err(ConnectError::Subprotocol { offered: offered.to_vec(), selected }),
    }
}

fn valid_token(name: &str) -> Result<(), BuildError> {
    // W-22 (RFC 6455 §4.1): a name is an HTTP token.
    match name.char_indices().find(|(_, letter)| !is_token_char(*letter)) {
        Some((at, letter)) => Err(BuildError::InvalidProtocol(format!("{letter:?} at byte {at}"))),
        None if name.is_empty() => Err(BuildError::InvalidProtocol("it is empty".into())),
        None => Ok(()),
    }
}

/// Whether a subprotocol means a language that is not spoken: a version of QMux, or the wire that moq's packages had
/// before QMux.
fn is_foreign(subprotocol: &str) -> bool {
    let version = subprotocol.split_once('.').map_or(subprotocol, |(version, _)| version);
    let is_number = |rest: &str| rest.len() == 2 && rest.bytes().all(|byte| byte.is_ascii_digit());
    subprotocol == "webtransport"
        || (version.strip_prefix("qmux-").is_some_and(is_number)
            && QMuxVersion::split_subprotocol(subprotocol).0.is_none())
}

/// Whether a `token` of RFC 9110 §5.6.2 may hold it.
fn is_token_char(letter: char) -> bool {
    letter.is_ascii_alphanumeric()
        || matches!(letter, '!' | '#'..='\'' | '*' | '+' | '-' | '.' | '^'..='`' | '|' | '~')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(protocols: &[&str], protocol_required: bool) -> Subprotocols {
        let named = |&name: &&str| match name.strip_prefix('=') {
            Some(bare) => Protocol::Bare(bare.to_owned()),
            None => Protocol::OfVersion(name.to_owned()),
        };
        let protocols = protocols.iter().map(named).collect();
        Subprotocols { protocols, protocol_required, ..Subprotocols::default() }
    }

    fn names(protocols: &[&str], protocol_required: bool) -> Result<Vec<String>, BuildError> {
        of(protocols, protocol_required).names()
    }

    /// [W-12] A client on the QMux wire MUST offer at least one subprotocol, and by default offers `qmux-02.<app>`
    /// for each configured application protocol, in order of preference, and then `qmux-02` unless an application
    /// protocol is required.
    #[test]
    fn application_protocols_come_before_the_bare_name() {
        assert_eq!(names(&[], false).unwrap(), ["qmux-02"]);
        assert_eq!(names(&["b", "a"], false).unwrap(), ["qmux-02.b", "qmux-02.a", "qmux-02"]);
        assert_eq!(names(&["a", "a"], true).unwrap(), ["qmux-02.a"]);
    }

    /// [W-40] A server MUST accept `qmux-01` and `qmux-01.<app>` wherever it accepts the same with
    /// `qmux-02`, and prefer the latter; a setting turns that off, and on a client turns on
    /// offering them.
    /// [W-41] An application protocol that is configured by its bare name MUST be offered, or accepted, as exactly
    /// that name.
    #[test]
    fn each_protocol_has_its_names_in_its_place() {
        let mut older = of(&["b", "=moqt-18", "a"], false);
        let newest = ["qmux-02.b", "moqt-18", "qmux-02.a", "qmux-02"];
        assert_eq!(older.names().unwrap(), newest);
        older.older_versions = true;
        let all =
            ["qmux-02.b", "qmux-01.b", "moqt-18", "qmux-02.a", "qmux-01.a", "qmux-02", "qmux-01"];
        assert_eq!(older.names().unwrap(), all);
        assert_eq!(names(&["=com.example.rpc"], true).unwrap(), ["com.example.rpc"]);
    }

    /// [W-22] An application protocol's name that is empty, or that is not an HTTP token, MUST be refused when it
    /// is configured.
    #[test]
    fn a_protocol_that_is_no_token_is_refused() {
        for name in ["", "a b", "a,b", "é", "a\r\n", "a/b"] {
            for name in [name.to_owned(), format!("={name}")] {
                assert!(
                    matches!(names(&[&name], false), Err(BuildError::InvalidProtocol(_))),
                    "{name:?}"
                );
            }
        }
        assert!(matches!(names(&[], true), Err(BuildError::NoSubprotocol)));
    }

    /// [W-42] `webtransport`, and `qmux-` with two digits of a version that we do not speak, alone
    /// or before a dot, MUST be refused when they are configured as a subprotocol.
    #[test]
    fn the_name_of_a_wire_that_is_not_spoken_is_refused() {
        for name in ["webtransport", "qmux-00", "qmux-00.moqt-18", "qmux-03", "qmux-99.a"] {
            let exact =
                Subprotocols { names: Some(vec![name.to_owned()]), ..Subprotocols::default() };
            for refused in [names(&[&format!("={name}")], false), exact.names()] {
                assert!(matches!(refused, Err(BuildError::ForeignProtocol(_))), "{name}");
            }
        }
        for name in ["webtransport-1", "qmux", "qmux-1", "qmux-001", "qmux-02.qmux-00", "qmux-0x.a"]
        {
            assert_eq!(names(&[&format!("={name}")], true).unwrap(), [name]);
        }
        // After our own name and a dot, the name is an application's.
        assert_eq!(names(&["webtransport"], true).unwrap(), ["qmux-02.webtransport"]);
    }

    /// [W-43] The application protocol that is reported MUST be the part of the subprotocol after
    /// the name of a version that we speak and a dot; none, if the subprotocol is that name alone;
    /// and the whole subprotocol, if it begins otherwise.
    #[test]
    fn the_application_protocol_is_what_is_not_our_version() {
        for (subprotocol, application) in [
            ("moqt-18", Some("moqt-18")),
            ("com.example.rpc", Some("com.example.rpc")),
            ("qmux-02.moq-lite-04", Some("moq-lite-04")),
            ("qmux-01.com.example.rpc", Some("com.example.rpc")),
            ("qmux-02", None),
            ("qmux-01", None),
            ("qmux-02.", None),
            ("qmux-020", Some("qmux-020")),
            ("qmux-02x.a", Some("qmux-02x.a")),
            ("QMUX-02.a", Some("QMUX-02.a")),
        ] {
            assert_eq!(QMuxVersion::split_subprotocol(subprotocol).1, application, "{subprotocol}");
        }
    }
}
