//! What is asked, and what an answer shows.

use rand::Rng;
use serde_json::Value;

use super::history::Version;

/// Rows of `item`.
pub const ITEMS: u32 = 24;
/// Groups of rows of `item` that are read together.
pub const SHELVES: u32 = 4;
/// Rows of `item` that are read as a page.
pub const PAGE: u32 = 5;
/// Rows of `part`: two for each of the first items.
pub const PARTS: u32 = 16;
/// Columns of `part` that are zero everywhere.
pub const ZEROS: u32 = 6;
/// Rows of `by_role`.
pub const BY_ROLE: u32 = 4;
/// Rows of `by_claim`.
pub const BY_CLAIM: u32 = 6;
/// Groups of `ledger`.
pub const GROUPS: u32 = 4;

/// The roles that own rows of `by_role`, in turn.
pub const ROLES: [&str; 2] = ["checker_a", "checker_b"];
/// Who own rows of `by_claim`, in turn.
pub const SUBJECTS: [&str; 3] = ["ann", "bob", "cid"];
/// Who reads what is under row-level security: role and `sub`.
pub const USERS: [(&str, &str); 4] =
    [("checker_a", "ann"), ("checker_a", "bob"), ("checker_b", "ann"), ("checker_b", "cid")];

/// A table that is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Table {
    /// read by key, in lists, and with its parts
    Item,
    /// embedded
    Part,
    /// under row-level security that asks for the role
    ByRole,
    /// under row-level security that asks for a claim
    ByClaim,
    /// counted
    Ledger,
}

impl Table {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Item, Self::Part, Self::ByRole, Self::ByClaim, Self::Ledger];

    /// Its name in the database.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Item => "item",
            Self::Part => "part",
            Self::ByRole => "by_role",
            Self::ByClaim => "by_claim",
            Self::Ledger => "ledger",
        }
    }

    /// How many keys it has.
    #[must_use]
    pub fn keys(self) -> u32 {
        match self {
            Self::Item => ITEMS,
            Self::Part => PARTS,
            Self::ByRole => BY_ROLE,
            Self::ByClaim => BY_CLAIM,
            Self::Ledger => GROUPS,
        }
    }
}

/// What has versions: a row, or a group of `ledger`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    /// of which table
    pub table: Table,
    /// which
    pub id: u32,
}

impl Key {
    /// Every key, in the order of [`index`](Self::index).
    pub fn all() -> impl Iterator<Item = Self> {
        Table::ALL.into_iter().flat_map(|table| (0..table.keys()).map(move |id| Self { table, id }))
    }

    /// Its place among all.
    #[must_use]
    pub fn index(self) -> usize {
        let before: u32 = Table::ALL.iter().take_while(|table| **table != self.table).map(|table| table.keys()).sum();
        (before + self.id) as usize
    }
}

/// What an answer shows of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen {
    /// this version
    Version(Version),
    /// a version, unknown which, of this remainder modulo 2
    Phase(u64),
}

impl Seen {
    /// Whether that version would have looked like this.
    #[must_use]
    pub fn shows(&self, version: Version) -> bool {
        match self {
            Self::Version(seen) => *seen == version,
            Self::Phase(phase) => version % 2 == *phase,
        }
    }
}

/// One key in an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sighting {
    /// which
    pub key: Key,
    /// what of it
    pub seen: Seen,
    /// whose it says it is
    pub owner: Option<String>,
}

/// A read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Question {
    /// one item by its key
    Point(u32),
    /// several by their keys
    Several(u32),
    /// all of a shelf
    Shelf(u32),
    /// some in a row, from this one on, as a page
    Page(u32),
    /// those of a shelf that are in a phase
    Phase(u32, u64),
    /// one item with its parts
    WithParts(u32),
    /// one part with its item
    WithItem(u32),
    /// the parts of one item, by columns that are zero everywhere, those with a bit in the second number: in the course
    /// of a run ever new templates
    Narrow(u32, u32),
    /// how many entries a group of the ledger has, and the last
    Count(u32),
    /// what a user may see of `by_role`
    OfRole(usize),
    /// what a user may see of `by_claim`
    OfClaim(usize),
}

impl Question {
    /// One of them; `newest` is what nobody had asked until a moment ago.
    pub fn random(random: &mut impl Rng, newest: Self) -> Self {
        match random.random_range(0..14) {
            0..=3 => Self::Point(random.random_range(0..ITEMS)),
            4 => Self::Several(random.random_range(0..ITEMS / 3)),
            5 => Self::Shelf(random.random_range(0..SHELVES)),
            6 => Self::Phase(random.random_range(0..SHELVES), random.random_range(0..2)),
            7 => Self::WithParts(random.random_range(0..PARTS / 2)),
            8 => Self::WithItem(random.random_range(0..PARTS)),
            9 => Self::Count(random.random_range(0..GROUPS)),
            10 => newest,
            11 => Self::OfRole(random.random_range(0..USERS.len())),
            12 => Self::Page(random.random_range(0..=ITEMS - PAGE)),
            _ => Self::OfClaim(random.random_range(0..USERS.len())),
        }
    }

    /// Path and query, below `rest_path`.
    #[must_use]
    pub fn target(self) -> String {
        match self {
            Self::Point(id) => format!("/item?id=eq.{id}&select=id,version"),
            Self::Several(first) => {
                format!("/item?id=in.({})&select=id,version", several(first).map(|id| id.to_string()).join(","))
            }
            Self::Shelf(shelf) => format!("/item?shelf=eq.{shelf}&select=id,version&order=id"),
            Self::Page(first) => format!("/item?id=gte.{first}&select=id,version&order=id&limit={PAGE}"),
            Self::Phase(shelf, phase) => format!("/item?shelf=eq.{shelf}&phase=eq.{phase}&select=id,version"),
            Self::WithParts(id) => format!("/item?id=eq.{id}&select=id,version,part(id,version)"),
            Self::WithItem(id) => format!("/part?id=eq.{id}&select=id,version,item(id,version)"),
            Self::Narrow(id, columns) => {
                let zeros = (0..ZEROS).filter(|column| columns & 1 << column != 0);
                let filters: String = zeros.map(|column| format!("&zero_{column}=eq.0")).collect();
                format!("/part?item_id=eq.{id}{filters}&select=id,version")
            }
            Self::Count(grp) => format!("/ledger?grp=eq.{grp}&select=version,size&order=version.desc&limit=1"),
            Self::OfRole(_) => "/by_role?select=id,owner,version".to_owned(),
            Self::OfClaim(_) => "/by_claim?select=id,owner,version".to_owned(),
        }
    }

    /// As which user it is asked.
    #[must_use]
    pub fn user(self) -> Option<usize> {
        match self {
            Self::OfRole(user) | Self::OfClaim(user) => Some(user),
            _ => None,
        }
    }

    /// Whose rows alone may be in the answer.
    #[must_use]
    pub fn principal(self) -> Option<&'static str> {
        match self {
            Self::OfRole(user) => Some(USERS[user].0),
            Self::OfClaim(user) => Some(USERS[user].1),
            _ => None,
        }
    }

    /// Whether the rows are to be counted.
    #[must_use]
    pub fn counts(self) -> bool {
        matches!(self, Self::Count(_))
    }

    /// What an answer shows. `total` is the last part of its `Content-Range`.
    ///
    /// # Errors
    /// If rows that are always there are missing, or it contradicts itself.
    pub fn sightings(self, body: &[u8], total: Option<u64>) -> Result<Vec<Sighting>, String> {
        let malformed = |what: &str| format!("{what}: {}", String::from_utf8_lossy(body));
        let value: Value = serde_json::from_slice(body).map_err(|_| malformed("not JSON"))?;
        let rows = value.as_array().ok_or_else(|| malformed("not rows"))?;
        let table = match self {
            Self::WithItem(_) | Self::Narrow(..) => Table::Part,
            Self::OfRole(_) => Table::ByRole,
            Self::OfClaim(_) => Table::ByClaim,
            _ => Table::Item,
        };
        if let Self::Count(grp) = self {
            return count(grp, rows, total).ok_or_else(|| malformed(&format!("a count of {total:?}")));
        }
        let mut sightings = Vec::with_capacity(rows.len() + 2);
        for row in rows {
            sightings.push(sighting(table, row).ok_or_else(|| malformed("not a row"))?);
            let embedded = match self {
                Self::WithParts(_) => (Table::Part, row["part"].as_array().map(Vec::as_slice)),
                Self::WithItem(_) => (Table::Item, Some(std::slice::from_ref(&row["item"]))),
                _ => continue,
            };
            for inner in embedded.1.ok_or_else(|| malformed("nothing embedded"))? {
                sightings.push(sighting(embedded.0, inner).ok_or_else(|| malformed("not a row"))?);
            }
        }
        self.complete(&mut sightings).ok_or_else(|| malformed("rows are missing, or there are others"))?;
        Ok(sightings)
    }

    /// The rows of an answer are known beforehand, but for those of a phase: what is not there is in the other one.
    fn complete(self, sightings: &mut Vec<Sighting>) -> Option<()> {
        let mut keys: Vec<Key> = sightings.iter().map(|sighting| sighting.key).collect();
        keys.sort_unstable();
        // Somebody else's rows are not missing ones, and are judged by their owner.
        if self.principal().is_some() {
            let expected = self.expected();
            return expected.iter().all(|key| keys.binary_search(key).is_ok()).then_some(());
        }
        let Self::Phase(_, phase) = self else { return (keys == self.expected()).then_some(()) };
        for key in self.expected() {
            if keys.binary_search(&key).is_err() {
                sightings.push(Sighting { key, seen: Seen::Phase(1 - phase), owner: None });
            }
        }
        let astray = |sighting: &Sighting| matches!(sighting.seen, Seen::Version(version) if version % 2 != phase);
        (!sightings.iter().any(astray) && sightings.len() == self.expected().len()).then_some(())
    }

    /// The keys in an answer, in their order.
    fn expected(self) -> Vec<Key> {
        let keys = |table, wanted: &dyn Fn(u32) -> bool| -> Vec<Key> {
            (0..Table::keys(table)).filter(|id| wanted(*id)).map(|id| Key { table, id }).collect()
        };
        match self {
            Self::Point(id) => vec![Key { table: Table::Item, id }],
            Self::Several(first) => several(first).map(|id| Key { table: Table::Item, id }).to_vec(),
            Self::Page(first) => keys(Table::Item, &|id| (first..first + PAGE).contains(&id)),
            Self::Shelf(shelf) | Self::Phase(shelf, _) => keys(Table::Item, &|id| id % SHELVES == shelf),
            Self::WithParts(id) => {
                let part = |id| Key { table: Table::Part, id };
                vec![Key { table: Table::Item, id }, part(2 * id), part(2 * id + 1)]
            }
            Self::WithItem(id) => vec![Key { table: Table::Item, id: id / 2 }, Key { table: Table::Part, id }],
            Self::Narrow(item, _) => keys(Table::Part, &|id| id / 2 == item),
            Self::Count(id) => vec![Key { table: Table::Ledger, id }],
            Self::OfRole(user) => keys(Table::ByRole, &|id| ROLES[id as usize % ROLES.len()] == USERS[user].0),
            Self::OfClaim(user) => keys(Table::ByClaim, &|id| SUBJECTS[id as usize % SUBJECTS.len()] == USERS[user].1),
        }
    }
}

/// Three items from different places.
fn several(first: u32) -> [u32; 3] {
    [first, first + ITEMS / 3, first + 2 * (ITEMS / 3)]
}

fn sighting(table: Table, row: &Value) -> Option<Sighting> {
    let id = u32::try_from(row["id"].as_u64()?).ok().filter(|id| *id < table.keys())?;
    let owner = row["owner"].as_str().map(str::to_owned);
    Some(Sighting { key: Key { table, id }, seen: Seen::Version(row["version"].as_u64()?), owner })
}

/// The last entry says how many there were with it.
fn count(grp: u32, rows: &[Value], total: Option<u64>) -> Option<Vec<Sighting>> {
    let [row] = rows else { return None };
    (row["size"].as_u64()? == total?).then_some(())?;
    let key = Key { table: Table::Ledger, id: grp };
    Some(vec![Sighting { key, seen: Seen::Version(row["version"].as_u64()?), owner: None }])
}
