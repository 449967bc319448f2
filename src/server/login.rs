//! Hooks that many servers need: passwords, tokens, and the origins of web pages.

use async_trait::async_trait;
use data_encoding::BASE64;
use http::{HeaderMap, StatusCode, header};
use subtle::{Choice, ConstantTimeEq};

use super::authorize::{Accept, Authorize, Refuse, UpgradeRequest};
use crate::handshake::headers::only;

/// The name of the user who logged in. [`Basic`] and [`Bearer`] attach it to the connection;
/// [`application_data::<User>()`](crate::WebSocketConnection::application_data) returns it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct User(pub String);

/// Returns the user and password of the `Authorization: Basic` header (RFC 7617). Returns `None` if
/// there is no such header or more than one, or if the credentials are not UTF-8.
pub fn basic_credentials(headers: &HeaderMap) -> Option<(String, String)> {
    let decoded = BASE64.decode(credentials(headers, "basic")?.as_bytes()).ok()?;
    let decoded = String::from_utf8(decoded).ok()?;
    let (user, password) = decoded.split_once(':')?;
    Some((user.to_owned(), password.to_owned()))
}

/// Returns the token of the `Authorization: Bearer` header (RFC 6750). Returns `None` if there is
/// no such header or more than one.
pub fn bearer_token(headers: &HeaderMap) -> Option<&str> {
    credentials(headers, "bearer").filter(|token| !token.is_empty())
}

/// Returns the part of the `Authorization` header after the scheme. The scheme is not
/// case-sensitive (RFC 9110 §11.1).
fn credentials<'a>(headers: &'a HeaderMap, scheme: &str) -> Option<&'a str> {
    let value = only(headers, &header::AUTHORIZATION)?.to_str().ok()?;
    let (found, credentials) = value.trim().split_once(' ')?;
    found.eq_ignore_ascii_case(scheme).then(|| credentials.trim_start())
}

/// Compares a client's value with a secret. The time that this takes depends on the lengths of the
/// two values, and not on how many bytes agree.
pub fn constant_time_eq(left: impl AsRef<[u8]>, right: impl AsRef<[u8]>) -> bool {
    left.as_ref().ct_eq(right.as_ref()).into()
}

/// Accepts users by password (RFC 7617) and attaches the [`User`] to the connection. Other clients
/// receive 401.
///
/// The client sends the password unencrypted, so use this hook over TLS only. A client's password
/// is compared with the passwords of all users, each in constant time. Thus the time of an answer
/// reveals neither how much of a password is right nor which users exist. The time may reveal the
/// lengths of names and passwords.
///
/// This hook is meant for a few users from a configuration. Passwords in a database should be
/// hashed, and looked up by a hook of your own with [`basic_credentials`].
#[derive(Clone)]
#[must_use]
pub struct Basic {
    challenge: String,
    users: Vec<(String, String)>,
}

impl std::fmt::Debug for Basic {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Basic").field("challenge", &self.challenge).finish_non_exhaustive()
    }
}

impl Basic {
    /// Makes a hook that accepts nobody until [`user`](Self::user) adds a user. The client shows
    /// `realm` to its user when it asks for the password.
    pub fn new(realm: &str) -> Self {
        let challenge = format!("Basic realm={}, charset=\"UTF-8\"", quoted(realm));
        Self { challenge, users: Vec::new() }
    }

    /// Adds a user. A name that contains a colon can never log in (RFC 7617 §2).
    pub fn user(mut self, name: impl Into<String>, password: impl Into<String>) -> Self {
        self.users.push((name.into(), password.into()));
        self
    }
}

#[async_trait]
impl Authorize for Basic {
    async fn authorize(&self, request: &UpgradeRequest) -> Result<Accept, Refuse> {
        let given = basic_credentials(request.headers());
        let known = given.filter(|(name, password)| {
            let is = |(user, secret): &(String, String)| {
                user.as_bytes().ct_eq(name.as_bytes())
                    & secret.as_bytes().ct_eq(password.as_bytes())
            };
            let anyone = self.users.iter().map(is).fold(Choice::from(0), |any, one| any | one);
            anyone.into()
        });
        match known {
            Some((name, _)) => Ok(Accept::new().data(User(name))),
            None => Err(Refuse::unauthorized(&*self.challenge)),
        }
    }
}

/// Accepts clients that present one of the tokens (RFC 6750) and attaches the token's [`User`] to
/// the connection. Other clients receive 401.
///
/// The client sends the token unencrypted, so use this hook over TLS only. The client's token is
/// compared with all tokens of the server, each time in constant time. Signed tokens, such as JWT,
/// need a hook of your own with [`bearer_token`].
#[derive(Clone)]
#[must_use]
pub struct Bearer {
    realm: String,
    tokens: Vec<(String, String)>,
}

impl std::fmt::Debug for Bearer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Bearer").field("realm", &self.realm).finish_non_exhaustive()
    }
}

impl Bearer {
    /// Makes a hook that accepts nobody until [`token`](Self::token) adds a token. `realm` says
    /// what the token is for.
    pub fn new(realm: &str) -> Self {
        Self { realm: quoted(realm), tokens: Vec::new() }
    }

    /// Adds a token and the user that it stands for.
    pub fn token(mut self, token: impl Into<String>, user: impl Into<String>) -> Self {
        self.tokens.push((token.into(), user.into()));
        self
    }
}

#[async_trait]
impl Authorize for Bearer {
    async fn authorize(&self, request: &UpgradeRequest) -> Result<Accept, Refuse> {
        let Some(given) = bearer_token(request.headers()) else {
            return Err(Refuse::unauthorized(format!("Bearer realm={}", self.realm)));
        };
        let mut known = None;
        for (token, user) in &self.tokens {
            // The loop does not end early, because the time must not show which token matched.
            if constant_time_eq(token, given) {
                known = Some(user);
            }
        }
        match known {
            Some(user) => Ok(Accept::new().data(User(user.clone()))),
            // RFC 6750 §3.1: the challenge says that the token is not valid.
            None => {
                let challenge = format!("Bearer realm={}, error=\"invalid_token\"", self.realm);
                Err(Refuse::unauthorized(challenge))
            }
        }
    }
}

/// Makes a quoted-string (RFC 9110 §5.6.4). Characters that a header cannot hold are left out.
fn quoted(text: &str) -> String {
    let mut out = String::from('"');
    for letter in text.chars().filter(|letter| matches!(letter, ' '..='~')) {
        if matches!(letter, '"' | '\\') {
            out.push('\\');
        }
        out.push(letter);
    }
    out.push('"');
    out
}

/// Accepts web pages of these origins, and clients that are not web pages. Other pages receive 403.
///
/// A page of any origin can open a WebSocket, and the browser sends its user's cookies, HTTP
/// passwords and client certificates. A server that trusts cookies, HTTP passwords or client
/// certificates needs this hook. The hook can stop only pages, because any other program can send
/// whatever `Origin` it likes.
#[derive(Debug, Clone)]
#[must_use]
pub struct AllowedOrigins {
    origins: Vec<String>,
    required: bool,
}

impl AllowedOrigins {
    /// Allows these origins, each as a browser sends it (RFC 6454 §6.2): `https://example.com`,
    /// with the port if it is not the scheme's default, and without a path. The origin `null` would
    /// allow local files, and sandboxed frames of any site.
    pub fn new(origins: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self { origins: origins.into_iter().map(Into::into).collect(), required: false }
    }

    /// Whether clients without an `Origin` are refused as well. Default `false`.
    pub fn require(mut self, required: bool) -> Self {
        self.required = required;
        self
    }
}

#[async_trait]
impl Authorize for AllowedOrigins {
    async fn authorize(&self, request: &UpgradeRequest) -> Result<Accept, Refuse> {
        let headers = request.headers();
        let allowed = match only(headers, &header::ORIGIN) {
            Some(origin) => {
                let is = |known: &String| known.as_bytes().eq_ignore_ascii_case(origin.as_bytes());
                self.origins.iter().any(is)
            }
            None => !self.required && !headers.contains_key(header::ORIGIN),
        };
        match allowed {
            true => Ok(Accept::new()),
            false => Err(Refuse::new(StatusCode::FORBIDDEN).body("this origin is not allowed\n")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(header::AUTHORIZATION, line.parse().unwrap());
        }
        headers
    }

    #[test]
    fn credentials_are_read_as_the_standards_write_them() {
        let basic = |line| basic_credentials(&headers(&[line]));
        let some = |user: &str, password: &str| Some((user.to_owned(), password.to_owned()));
        // The examples of RFC 7617 §2.
        assert_eq!(basic("Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="), some("Aladdin", "open sesame"));
        assert_eq!(basic("basic  dGVzdDoxMjPCow=="), some("test", "123\u{a3}"));
        assert_eq!(basic("Basic YTpiOmM="), some("a", "b:c"));
        for bad in ["Basic", "Basic ", "Basic !", "Basic YQ==", "Basic /zo=", "Bearer YTpi", ""] {
            assert_eq!(basic(bad), None, "{bad:?}");
        }
        assert_eq!(basic_credentials(&headers(&["Basic YTpi", "Basic YTpi"])), None);
        assert_eq!(basic_credentials(&HeaderMap::new()), None);

        let bearer = |line| bearer_token(&headers(&[line])).map(str::to_owned);
        assert_eq!(bearer("bearer mF_9.B5f-4.1JqM").as_deref(), Some("mF_9.B5f-4.1JqM"));
        for bad in ["Bearer", "Bearer  ", "Basic mF"] {
            assert_eq!(bearer(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn a_realm_cannot_break_out_of_its_quotes() {
        assert_eq!(quoted("a \"b\" \\ \r\n\u{e9}"), r#""a \"b\" \\ ""#);
    }
}
