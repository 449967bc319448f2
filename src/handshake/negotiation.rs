//! The choice of the wire in the opening handshake, and the names of the subprotocols by which the
//! wire is chosen.

use std::{fmt, sync::Arc};

use wsmux_proto::{QMuxVersion, Selection, Wire};

use crate::error::{BuildError, ConnectError, connect::Offered};

/// The wires that an end speaks, each with the subprotocol that stands for it. A client offers
/// these subprotocols, and a server selects one of them.
#[derive(Clone)]
pub(crate) struct Negotiation {
    /// The choices in order of preference. No subprotocol occurs twice.
    choices: Vec<Choice>,
    /// Whether the names are made from the names of application protocols, which are not secret.
    are_protocols: bool,
}

/// A wire, and the subprotocol that stands for it. If the subprotocol is `None`, a handshake
/// without a subprotocol stands for the wire.
#[derive(Debug, Clone)]
struct Choice {
    subprotocol: Option<String>,
    wire: Wire,
}

impl Negotiation {
    /// Makes the negotiation between `wires`, which are in order of preference. The names of
    /// subprotocols are checked even if none of the wires has a subprotocol.
    ///
    /// # Errors
    /// [`BuildError`] for a name that is not valid, or if a wire that needs a subprotocol has none.
    pub(crate) fn new(wires: &[Wire], subprotocols: &Subprotocols) -> Result<Self, BuildError> {
        subprotocols.check()?;
        let mut choices: Vec<Choice> = Vec::new();
        for (name, wire) in subprotocols.names(wires) {
            let subprotocol = Some(name);
            // RFC 6455 §4.1: no name is offered twice. There are few names, and a hash set would
            // add 3 kB to the download of a page.
            if choices.iter().all(|choice| choice.subprotocol != subprotocol) {
                choices.push(Choice { subprotocol, wire });
            }
        }
        // W-12: a wire that is chosen by a subprotocol needs the name of at least one subprotocol.
        if choices.is_empty() && wires.iter().any(|wire| !versions(*wire).is_empty()) {
            return Err(BuildError::NoSubprotocol);
        }
        let without = wires.iter().find(|wire| wire.selection() == Selection::NoSubprotocol);
        // W-13: a wire that is chosen without a subprotocol adds no name to what is offered.
        choices.extend(without.map(|&wire| Choice { subprotocol: None, wire }));
        Ok(Self { choices, are_protocols: subprotocols.are_protocols() })
    }

    /// Returns the subprotocols, in order of preference.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.choices.iter().filter_map(|choice| choice.subprotocol.as_deref())
    }

    /// Returns what a client offers: all [names](Self::names).
    pub(crate) fn offered(&self) -> Vec<String> {
        self.names().map(str::to_owned).collect()
    }

    /// Returns the wire for which a subprotocol stands. If `subprotocol` is `None`, returns the
    /// wire for a handshake without a subprotocol. Returns `None` if there is no such wire.
    pub(crate) fn wire_of(&self, subprotocol: Option<&str>) -> Option<Wire> {
        let mut choices = self.choices.iter();
        let choice = choices.find(|choice| choice.subprotocol.as_deref() == subprotocol)?;
        Some(choice.wire)
    }

    /// Checks the subprotocol that the server has selected. Only a client calls this.
    ///
    /// # Errors
    /// [`ConnectError::Subprotocol`] if the selected name stands for no wire that this client
    /// speaks.
    pub(crate) fn agreed(&self, selected: Option<String>) -> Result<Option<Agreed>, ConnectError> {
        match self.wire_of(selected.as_deref()) {
            Some(_) => Ok(selected.map(|name| self.agree(name))),
            // W-14, W-15 (RFC 6455 §4.1): the server selects one of the offered names, or nothing
            // if the client offered no name.
            None => Err(ConnectError::Subprotocol { offered: self.offered(), selected }),
        }
    }

    /// Returns the subprotocol `name`, on which both ends have agreed.
    pub(crate) fn agree(&self, name: impl Into<Arc<str>>) -> Agreed {
        Agreed::new(name, self.are_protocols)
    }
}

/// The output hides names that the application has given in full, because web pages send tokens as
/// such names.
impl fmt::Debug for Negotiation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.offered();
        let names: &dyn fmt::Debug = match self.are_protocols {
            true => &names,
            false => &Offered(&names),
        };
        let without = self.wire_of(None);
        f.debug_struct("Negotiation")
            .field("subprotocols", names)
            .field("without_subprotocol", &without)
            .finish()
    }
}

/// An application protocol. The variant determines the form of the subprotocol.
#[derive(Debug, Clone)]
pub(crate) enum Protocol {
    /// The subprotocol is the name of a version of the wire, a dot, and the protocol's name.
    OfVersion(String),
    /// The subprotocol is the protocol's name alone (draft-lcurley-qmux-websocket-00 §Subprotocol
    /// Identifier).
    Bare(String),
}

/// The subprotocols that an application has set, in order of preference.
#[derive(Clone, Default)]
pub(crate) struct Subprotocols {
    pub(crate) protocols: Vec<Protocol>,
    pub(crate) protocol_required: bool,
    /// Whether the names of older versions of a wire are used in addition to the name of the newest
    /// version.
    pub(crate) older_versions: bool,
    /// The names that the application has given in full. These names replace all names that would
    /// be made from the other fields.
    pub(crate) names: Option<Vec<String>>,
}

impl Subprotocols {
    /// Whether the names are made from the names of application protocols, which are not secret.
    /// Returns `false` if the application has given the names in full.
    fn are_protocols(&self) -> bool {
        self.names.is_none()
    }

    /// Checks what the application has set.
    fn check(&self) -> Result<(), BuildError> {
        for Protocol::OfVersion(name) | Protocol::Bare(name) in &self.protocols {
            valid_token(name)?;
        }
        let bare = |protocol: &Protocol| match protocol {
            Protocol::OfVersion(_) => None,
            Protocol::Bare(name) => Some(name.clone()),
        };
        let given = self.names.clone();
        for name in given.unwrap_or_else(|| self.protocols.iter().filter_map(bare).collect()) {
            valid_token(&name)?;
            // W-42: the name of a wire that we do not speak cannot be configured.
            if is_foreign(&name) {
                return Err(BuildError::ForeignProtocol(name));
            }
        }
        Ok(())
    }

    /// Returns the names of all subprotocols, each with the wire for which it stands. A wire has
    /// names only if it is chosen by a subprotocol. The names with an application protocol come
    /// first, and the names of versions alone come after them. A name that does not begin with the
    /// name of a version stands for the first wire that has names.
    fn names(&self, wires: &[Wire]) -> Vec<(String, Wire)> {
        let is_named = |wire: &&Wire| !versions(**wire).is_empty();
        let Some(&first) = wires.iter().find(is_named) else { return Vec::new() };
        let wire_of = |name: &str| {
            let is_of = |wire: &&Wire| versions(**wire).iter().any(|version| names(name, version));
            wires.iter().find(is_of).copied().unwrap_or(first)
        };
        let as_given = |name: &String| (name.clone(), wire_of(name));
        if let Some(names) = &self.names {
            return names.iter().map(as_given).collect();
        }
        let count = if self.older_versions { usize::MAX } else { 1 };
        let versions = || {
            let of =
                |&wire: &Wire| versions(wire).iter().take(count).map(move |&name| (name, wire));
            wires.iter().flat_map(of)
        };
        let mut names = Vec::new();
        for protocol in &self.protocols {
            match protocol {
                Protocol::OfVersion(app) => {
                    // W-12, W-40: `qmux-02.<app>` comes first, and the name with the older version
                    // follows.
                    names.extend(
                        versions().map(|(version, wire)| (format!("{version}.{app}"), wire)),
                    );
                }
                // W-41: the subprotocol of a bare protocol is exactly the protocol's name.
                Protocol::Bare(name) => names.push(as_given(name)),
            }
        }
        if !self.protocol_required {
            names.extend(versions().map(|(version, wire)| (version.to_owned(), wire)));
        }
        names
    }
}

/// The output hides names that the application has given in full, because web pages send tokens as
/// such names.
impl fmt::Debug for Subprotocols {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subprotocols")
            .field("protocols", &self.protocols)
            .field("protocol_required", &self.protocol_required)
            .field("names", &self.names.as_ref().map(Vec::len))
            .finish()
    }
}

/// The subprotocol that the two ends have agreed on.
#[derive(Clone)]
pub(crate) struct Agreed {
    pub(crate) name: Arc<str>,
    /// Whether logs and messages may show the name.
    is_open: bool,
}

impl Agreed {
    /// Makes the value. `is_protocol` says whether the name is made from the name of an application
    /// protocol.
    fn new(name: impl Into<Arc<str>>, is_protocol: bool) -> Self {
        let name = name.into();
        Self { is_open: is_protocol || Shown(&name).is_open(), name }
    }

    /// Returns the name in the form for logs and messages; see [`Shown`].
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

/// The name of a subprotocol, in the form for logs and messages.
///
/// Because a page cannot set a header, it may put a token among the subprotocols, and the other end
/// may select or repeat the token. Therefore a name is shown only if it has the form of QMux's own
/// names.
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

/// Returns the names of a wire's versions, the most preferred first. A wire that is not chosen by a
/// subprotocol has no such names.
fn versions(wire: Wire) -> &'static [&'static str] {
    match wire.selection() {
        Selection::Subprotocols { versions, .. } => versions,
        _ => &[],
    }
}

/// Whether a subprotocol is the name of this version, alone or before a dot.
fn names(subprotocol: &str, version: &str) -> bool {
    let rest = subprotocol.strip_prefix(version);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

fn valid_token(name: &str) -> Result<(), BuildError> {
    // W-22 (RFC 6455 §4.1): a name is an HTTP token.
    match name.char_indices().find(|(_, letter)| !is_token_char(*letter)) {
        Some((at, letter)) => Err(BuildError::InvalidProtocol(format!("{letter:?} at byte {at}"))),
        None if name.is_empty() => Err(BuildError::InvalidProtocol("it is empty".into())),
        None => Ok(()),
    }
}

/// Whether a subprotocol stands for a wire that we do not speak. Such a wire is an unknown version
/// of QMux, or the wire `webtransport`, which moq's packages used before QMux.
fn is_foreign(subprotocol: &str) -> bool {
    let version = subprotocol.split_once('.').map_or(subprotocol, |(version, _)| version);
    let is_number = |rest: &str| rest.len() == 2 && rest.bytes().all(|byte| byte.is_ascii_digit());
    subprotocol == "webtransport"
        || (version.strip_prefix("qmux-").is_some_and(is_number)
            && QMuxVersion::split_subprotocol(subprotocol).0.is_none())
}

/// Whether a `token` may contain this character (RFC 9110 §5.6.2).
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

    /// Returns what a client on the QMux wire offers.
    fn offered(subprotocols: &Subprotocols) -> Result<Vec<String>, BuildError> {
        Ok(Negotiation::new(&[Wire::QMux], subprotocols)?.offered())
    }

    fn names(protocols: &[&str], protocol_required: bool) -> Result<Vec<String>, BuildError> {
        offered(&of(protocols, protocol_required))
    }

    /// A wire is found by the subprotocol that stands for it, and by nothing else.
    #[test]
    fn any_subprotocol_may_mean_any_wire() {
        let choice = |subprotocol: Option<&str>, wire| Choice {
            subprotocol: subprotocol.map(str::to_owned),
            wire,
        };
        let choices = vec![
            choice(Some("a"), Wire::JsWs),
            choice(None, Wire::QMux),
            choice(Some("b"), Wire::QMux),
        ];
        let negotiation = Negotiation { choices, are_protocols: true };
        assert_eq!(negotiation.offered(), ["a", "b"]);
        for (subprotocol, wire) in [
            (Some("a"), Some(Wire::JsWs)),
            (Some("b"), Some(Wire::QMux)),
            (None, Some(Wire::QMux)),
            (Some("c"), None),
        ] {
            assert_eq!(negotiation.wire_of(subprotocol), wire, "{subprotocol:?}");
            let agreed = negotiation.agreed(subprotocol.map(str::to_owned));
            assert_eq!(agreed.is_ok(), wire.is_some(), "{subprotocol:?}");
        }
    }

    /// [W-12] A client on the QMux wire MUST offer at least one subprotocol. By default the client
    /// offers `qmux-02.<app>` for each configured application protocol, in order of preference.
    /// After these names the client offers `qmux-02`, unless an application protocol is required.
    #[test]
    fn application_protocols_come_before_the_bare_name() {
        assert_eq!(names(&[], false).unwrap(), ["qmux-02"]);
        assert_eq!(names(&["b", "a"], false).unwrap(), ["qmux-02.b", "qmux-02.a", "qmux-02"]);
        assert_eq!(names(&["a", "a"], true).unwrap(), ["qmux-02.a"]);
    }

    /// [W-40] A server MUST accept `qmux-01` and `qmux-01.<app>` wherever it accepts the
    /// corresponding name with `qmux-02`. If a client offers both, the server MUST prefer the name
    /// with `qmux-02`. By default a server accepts the older names, and a client does not offer
    /// them. Settings change both defaults.
    /// [W-41] An application protocol that is configured by its bare name MUST be offered, or
    /// accepted, as exactly that name.
    #[test]
    fn each_protocol_has_its_names_in_its_place() {
        let mut older = of(&["b", "=moqt-18", "a"], false);
        let newest = ["qmux-02.b", "moqt-18", "qmux-02.a", "qmux-02"];
        assert_eq!(offered(&older).unwrap(), newest);
        older.older_versions = true;
        let all =
            ["qmux-02.b", "qmux-01.b", "moqt-18", "qmux-02.a", "qmux-01.a", "qmux-02", "qmux-01"];
        assert_eq!(offered(&older).unwrap(), all);
        assert_eq!(names(&["=com.example.rpc"], true).unwrap(), ["com.example.rpc"]);
    }

    /// [W-22] An application protocol's name that is empty, or that is not an HTTP token, MUST be
    /// refused when it is configured.
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

    /// [W-42] Two kinds of names MUST be refused when they are configured as a subprotocol. The
    /// first is `webtransport`. The second is `qmux-` with the two digits of a version that we do
    /// not speak, alone or before a dot.
    #[test]
    fn the_name_of_a_wire_that_is_not_spoken_is_refused() {
        for name in ["webtransport", "qmux-00", "qmux-00.moqt-18", "qmux-03", "qmux-99.a"] {
            let exact =
                Subprotocols { names: Some(vec![name.to_owned()]), ..Subprotocols::default() };
            for refused in [names(&[&format!("={name}")], false), offered(&exact)] {
                assert!(matches!(refused, Err(BuildError::ForeignProtocol(_))), "{name}");
            }
        }
        for name in ["webtransport-1", "qmux", "qmux-1", "qmux-001", "qmux-02.qmux-00", "qmux-0x.a"]
        {
            assert_eq!(names(&[&format!("={name}")], true).unwrap(), [name]);
        }
        // After a version that we speak and a dot, the rest is the name of an application protocol.
        assert_eq!(names(&["webtransport"], true).unwrap(), ["qmux-02.webtransport"]);
    }

    /// [W-43] If a subprotocol begins with the name of a version that we speak and a dot, the part
    /// after the dot MUST be reported as the application protocol. If the subprotocol is only the
    /// name of such a version, there is no application protocol. Any other subprotocol MUST be
    /// reported whole.
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
