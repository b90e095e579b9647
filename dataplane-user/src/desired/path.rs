//! What is an object called? By a path, which is that of its URL too.

use std::{fmt, str::FromStr};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Kinds of objects, each after those that it may stand in.
#[derive(
    Serialize, Deserialize, JsonSchema, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug,
)]
#[expect(missing_docs, reason = "the names are the site file's")]
pub enum Kind {
    /// What is said of the site itself.
    Settings,
    Tenant,
    Network,
    Router,
    /// Of a router.
    Route,
    SecurityGroup,
    /// Of a security group.
    Rule,
    AddressGroup,
    Port,
    Line,
    LineGroup,
    Uplink,
    Access,
    Entitlement,
    Session,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 15] = [
        Self::Settings,
        Self::Tenant,
        Self::Network,
        Self::Router,
        Self::Route,
        Self::SecurityGroup,
        Self::Rule,
        Self::AddressGroup,
        Self::Port,
        Self::Line,
        Self::LineGroup,
        Self::Uplink,
        Self::Access,
        Self::Entitlement,
        Self::Session,
    ];

    /// The list of the site file that they are in, and their word in a path.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Settings => "settings",
            Self::Tenant => "tenants",
            Self::Network => "networks",
            Self::Router => "routers",
            Self::Route => "routes",
            Self::SecurityGroup => "security_groups",
            Self::Rule => "rules",
            Self::AddressGroup => "address_groups",
            Self::Port => "ports",
            Self::Line => "lines",
            Self::LineGroup => "line_groups",
            Self::Uplink => "uplinks",
            Self::Access => "accesses",
            Self::Entitlement => "entitlements",
            Self::Session => "sessions",
        }
    }

    /// What stands in a tenant, but for what stands in that.
    pub fn of_tenants() -> impl Iterator<Item = Self> {
        Self::ALL.into_iter().filter(|kind| matches!(kind.place(), Place::Tenant))
    }

    /// What stands in the site, each in a list.
    pub fn of_site() -> impl Iterator<Item = Self> {
        Self::ALL.into_iter().filter(|kind| kind.is_of_site())
    }

    /// Does it stand in the site, in a list?
    #[must_use]
    pub fn is_of_site(self) -> bool {
        matches!(self.place(), Place::Site) && self != Self::Settings
    }

    /// What stands in an object of this kind.
    #[must_use]
    pub const fn inner(self) -> Option<Self> {
        if matches!(self, Self::Router) {
            Some(Self::Route)
        } else if matches!(self, Self::SecurityGroup) {
            Some(Self::Rule)
        } else {
            None
        }
    }

    /// May anything stand in an object of this kind?
    #[must_use]
    pub const fn is_outer(self) -> bool {
        matches!(self, Self::Tenant) || self.inner().is_some()
    }

    const fn place(self) -> Place {
        match self {
            Self::Settings
            | Self::Tenant
            | Self::Uplink
            | Self::Access
            | Self::Entitlement
            | Self::Session => Place::Site,
            Self::Route => Place::In(Self::Router),
            Self::Rule => Place::In(Self::SecurityGroup),
            Self::Network
            | Self::Router
            | Self::SecurityGroup
            | Self::AddressGroup
            | Self::Port
            | Self::Line
            | Self::LineGroup => Place::Tenant,
        }
    }
}

/// What an object stands in.
enum Place {
    Site,
    Tenant,
    /// An object of a tenant's.
    In(Kind),
}

/// The one object that is meant: `tenants/blue/ports/web-1`.
///
/// What has no name of its own goes by what makes it the only one: a line and its session by
/// `number@access`, an entitlement by `tenant@access`, a route by its destination, a rule without
/// an id by a digest of what it says, the settings by `site`. A slash in it is an underscore.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Path {
    /// What it is.
    pub kind: Kind,
    /// Whose it is; empty: the provider's.
    pub tenant: String,
    /// Of a rule, its security group; of a route, its router.
    pub within: String,
    /// Its own name.
    pub name: String,
}

impl Path {
    /// An object of the site.
    pub fn of_site(kind: Kind, name: impl Into<String>) -> Self {
        Self { kind, tenant: String::new(), within: String::new(), name: name.into() }
    }

    /// An object of a tenant.
    pub fn of_tenant(tenant: &str, kind: Kind, name: impl Into<String>) -> Self {
        Self { kind, tenant: tenant.to_owned(), within: String::new(), name: name.into() }
    }

    /// What stands in an object of a tenant's.
    pub fn inside(tenant: &str, within: &str, kind: Kind, name: impl Into<String>) -> Self {
        Self { kind, tenant: tenant.to_owned(), within: within.to_owned(), name: name.into() }
    }

    /// What it stands in, which has to be there, too.
    #[must_use]
    pub fn parent(&self) -> Option<Self> {
        match self.kind.place() {
            Place::Site => None,
            Place::Tenant => Some(Self::of_site(Kind::Tenant, &self.tenant)),
            Place::In(kind) => Some(Self::of_tenant(&self.tenant, kind, &self.within)),
        }
    }

    /// The tenant whose it is, if it is one's: a tenant is its own.
    #[must_use]
    pub fn owner(&self) -> Option<&str> {
        let own = if self.kind == Kind::Tenant { &self.name } else { &self.tenant };
        Some(own.as_str()).filter(|tenant| !tenant.is_empty())
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, tenant, within, name } = self;
        match kind.place() {
            Place::Site => write!(f, "{}/{name}", kind.word()),
            Place::Tenant => write!(f, "tenants/{tenant}/{}/{name}", kind.word()),
            Place::In(outer) => {
                write!(f, "tenants/{tenant}/{}/{within}/{}/{name}", outer.word(), kind.word())
            }
        }
    }
}

/// It is no path of an object.
#[derive(thiserror::Error, Clone, PartialEq, Eq, Debug)]
#[error(
    "`{0}` is no object's path; as tenants/blue/ports/web-1, \
     tenants/blue/security_groups/web/rules/http or uplinks/internet"
)]
pub struct NoPath(String);

impl FromStr for Path {
    type Err = NoPath;

    fn from_str(text: &str) -> Result<Self, NoPath> {
        let no = || NoPath(crate::config::tree::quote(text));
        let words: Vec<_> = text.split('/').collect();
        if words.iter().any(|word| word.is_empty()) {
            return Err(no());
        }
        let of = |word: &str, mut kinds: Box<dyn Iterator<Item = Kind>>| {
            kinds.find(|kind| kind.word() == word).ok_or_else(no)
        };
        match words.as_slice() {
            ["settings", "site"] => Ok(Self::of_site(Kind::Settings, "site")),
            [kind, name] => Ok(Self::of_site(of(kind, Box::new(Kind::of_site()))?, *name)),
            ["tenants", tenant, kind, name] => {
                Ok(Self::of_tenant(tenant, of(kind, Box::new(Kind::of_tenants()))?, *name))
            }
            ["tenants", tenant, outer, within, inner, name] => {
                let outer = of(outer, Box::new(Kind::of_tenants()))?;
                let kind = outer.inner().filter(|kind| kind.word() == *inner).ok_or_else(no)?;
                Ok(Self::inside(tenant, within, kind, *name))
            }
            _ => Err(no()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_read_as_it_is_written() {
        let paths = [
            "settings/site",
            "tenants/blue",
            "tenants/blue/networks/n",
            "tenants/blue/security_groups/g",
            "tenants/blue/security_groups/g/rules/r",
            "tenants/blue/routers/r/routes/2001:db8::_32",
            "tenants/blue/lines/+819012345678@mobile",
            "uplinks/internet",
            "sessions/+819012345678@mobile",
            "entitlements/blue@mobile",
        ];
        for text in paths {
            assert_eq!(text.parse::<Path>().map(|path| path.to_string()), Ok(text.to_owned()));
        }
        for text in [
            "",
            "tenants",
            "tenants/",
            "tenants/blue/uplinks/x",
            "ports/a",
            "tenants/blue/rules/r",
            "tenants/blue/security_groups/g/rules",
            "tenants/blue/routers/g/rules/r",
            "settings/other",
            "tenants/blue/ports/a/b",
        ] {
            assert!(text.parse::<Path>().is_err(), "{text}");
        }
    }

    #[test]
    fn what_something_stands_in_comes_before_it() {
        for text in ["tenants/z/ports/a", "tenants/z/security_groups/z/rules/a"] {
            let path: Path = text.parse().expect("a path");
            assert!(path.parent().expect("it stands in something") < path);
        }
    }
}
