//! What questions that differ in their values alone have in common, kept once for all of them.

use std::sync::Arc;

use moka::sync::Cache;

use crate::{
    origin::{Session, Told},
    rest::{ReadPlan, ReadShape},
};

/// Bytes of the forms that are kept to be shared. One that was dropped stays with those who have it, and is kept again for those
/// who come: a service asks in some hundred forms, and whoever makes up others must not fill the memory with them.
const FORMS_BYTES_MAX: u64 = 4 << 20;
/// The same of sessions: there is one for each role and schema, and one for all claims that an answer depends on.
const SESSIONS_BYTES_MAX: u64 = 1 << 20;
/// Bytes of either beside its texts.
const OVERHEAD_BYTES: usize = 512;

/// The forms of questions, and the sessions in which they are asked.
pub struct Forms {
    forms: Cache<Arc<[u8]>, Form>,
    sessions: Cache<Arc<Session>, Arc<Session>>,
}

#[derive(Clone)]
struct Form {
    beginning: Arc<[u8]>,
    sql: Arc<str>,
    shape: Arc<ReadShape>,
}

impl Default for Forms {
    fn default() -> Self {
        let forms = Cache::builder().max_capacity(FORMS_BYTES_MAX);
        let sessions = Cache::builder().max_capacity(SESSIONS_BYTES_MAX);
        Self {
            forms: forms.weigher(|_, form: &Form| weight(form.beginning.len() + form.sql.len())).build(),
            sessions: sessions.weigher(|_, session: &Arc<Session>| weight(told(session))).build(),
        }
    }
}

impl Forms {
    /// The beginning of the keys of a form, of which its statement's text and shape are parts; the plan has from now on those
    /// that all plans of the form share.
    pub(super) fn kept(&self, beginning: Vec<u8>, plan: &mut ReadPlan) -> Arc<[u8]> {
        if let Some(form) = self.forms.get(&*beginning) {
            (plan.statement.sql, plan.shape) = (form.sql, form.shape);
            return form.beginning;
        }
        let (sql, shape) = (plan.statement.sql.clone(), plan.shape.clone());
        let form = Form { beginning: beginning.into(), sql, shape };
        self.forms.insert(form.beginning.clone(), form.clone());
        form.beginning
    }

    /// The session that is equal to this one, as all share it.
    pub fn session(&self, session: Session) -> Arc<Session> {
        if let Some(kept) = self.sessions.get(&session) {
            return kept;
        }
        let kept = Arc::new(session);
        self.sessions.insert(kept.clone(), kept.clone());
        kept
    }
}

fn weight(texts: usize) -> u32 {
    u32::try_from(texts + OVERHEAD_BYTES).unwrap_or(u32::MAX)
}

/// Bytes that a session tells the database.
fn told(session: &Session) -> usize {
    match &session.told {
        Told::Claims(claims) => claims.len(),
        Told::Nothing | Told::Request(_) => 0,
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http::{HeaderMap, Method};

    use super::*;
    use crate::rest::{self, Caller, Inbound, Plan, SchemaCache, Settings};

    fn plan(query: &str) -> ReadPlan {
        let (headers, body) = (HeaderMap::new(), Bytes::new());
        let inbound = Inbound { method: &Method::GET, path: "t", query: Some(query), headers: &headers, body: &body };
        match rest::plan(&inbound, &SchemaCache::default(), &Settings::default()).unwrap() {
            Plan::Read(plan) => plan,
            Plan::Write(_) => panic!("a write"),
        }
    }

    #[test]
    fn plans_of_one_form_have_it_once() {
        let forms = Forms::default();
        let [mut one, mut another, mut other] = ["id=eq.1", "id=eq.2", "name=eq.1"].map(plan);
        assert!(!Arc::ptr_eq(&one.statement.sql, &another.statement.sql));
        let [first, second] = [&mut one, &mut another].map(|plan| forms.kept(b"form".to_vec(), plan));
        assert!(Arc::ptr_eq(&first, &second));
        assert!(Arc::ptr_eq(&one.statement.sql, &another.statement.sql) && Arc::ptr_eq(&one.shape, &another.shape));
        assert_ne!(one.statement.params, another.statement.params);
        let sql = other.statement.sql.clone();
        assert_eq!(*forms.kept(b"other form".to_vec(), &mut other), *b"other form");
        assert_eq!(other.statement.sql, sql);
    }

    #[test]
    fn equal_sessions_are_one() {
        let forms = Forms::default();
        let session = |role: &str| forms.session(Session::new(Some(role.into()), Caller::Anonymous, "public", &[]));
        assert!(Arc::ptr_eq(&session("ann"), &session("ann")));
        assert_ne!(session("ann"), session("bob"));
        let claims = |claims: &str| forms.session((*session("ann")).clone().of_claims(claims.into()));
        assert!(Arc::ptr_eq(&claims("{}"), &claims("{}")));
        assert_ne!(claims("{}"), session("ann"));
    }

    #[test]
    fn made_up_forms_do_not_fill_the_memory() {
        let forms = Forms::default();
        for number in 0..10_000 {
            forms.kept(format!("{number:01000}").into_bytes(), &mut plan(&format!("c{number}=eq.1")));
        }
        forms.forms.run_pending_tasks();
        assert!((1..=FORMS_BYTES_MAX).contains(&forms.forms.weighted_size()));
    }
}
