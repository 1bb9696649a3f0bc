//! Questions by hand: what chance would not hit on.

use reqwest::Method;

use super::exchange::Ask;

/// Reads that fail, or look as if they should.
pub(super) const READS: &[&str] = &[
    "/nosuch",
    "/client",
    "/hidden",
    "/secrets?select=*",
    "/things/1",
    "/clients?select=",
    "/clients?select=nosuch",
    "/clients?select=id,nosuch(*)",
    "/clients?select=id,",
    "/clients?select=id,,name",
    "/clients?select=id(",
    "/clients?select=*,projects(*)",
    "/projects?select=*,clients(*)",
    "/projects?select=id,clients!nosuch(*)",
    "/projects?select=id,client_id(*)&order=id",
    "/projects?select=id,billed_to_client(name)&order=id",
    "/projects?select=id,c:clients!projects_client_id_fkey(name)&order=id",
    "/projects?select=id,...clients!client_id(client:name)&order=id",
    "/clients?select=id,...projects!client_id(name)",
    "/clients?select=id,full_name&order=id",
    "/clients?full_name=eq.Acme/x",
    "/clients?select=id,clients(name)&order=id",
    "/clients?select=id,parent:parent_id(name)&order=id",
    "/projects?select=id,top_task(title),open_of(title)&order=id&open_of.order=id",
    "/projects?select=id&order=clients(name)",
    "/projects?select=id,owner:clients!client_id(name)&order=owner(name).desc,id",
    "/projects?select=id,tasks(title)&order=tasks(title)",
    "/projects?select=id,tasks()&tasks=not.is.null&order=id",
    "/projects?select=id,tasks()&tasks=is.null&order=id",
    "/projects?select=id,details(text)&details=not.is.null&order=id",
    "/projects?select=id,details(text),tasks(title)&or=(details.not.is.null,tasks.is.null)&order=id&tasks.order=id",
    "/projects?select=id&tasks.id=eq.1",
    "/projects?tasks.order=id",
    "/projects?select=id,tasks(id)&tasks.limit=x",
    "/members?select=name,units(org,unit,size)&order=id",
    "/units?select=unit,members(name)&order=org,unit&members.order=id",
    "/users?select=name,tasks!users_tasks(title)&order=id&tasks.order=id",
    "/project_names?select=label,tasks(title)&order=id&tasks.order=id",
    "/things?select=name&id=eq",
    "/things?select=name&id=eq.",
    "/things?select=name&id=eq.x",
    "/things?select=name&id=nosuch.1",
    "/things?select=name&id=1",
    "/things?select=name&nosuch=eq.1",
    "/things?select=name&id=is.maybe",
    "/things?select=name&yes=is.unknown&order=id",
    "/things?select=name&id=in.1",
    "/things?select=name&id=in.(1",
    "/things?select=id&name=in.(%22two%20%5C%22quoted%5C%22,%20(paren)%22,one)",
    "/things?select=id&name=eq.two%20%22quoted%22,%20(paren)",
    "/things?select=id&name=like(any).{o*,t*}&order=id",
    "/things?select=id&name=like(some).{o*,t*}",
    "/things?select=id&id=not.in.(1,2)&order=id",
    "/things?select=id&id=not.not.eq.1",
    "/things?select=id&or=()",
    "/things?select=id&or=(id.eq.1",
    "/things?select=id&or=(id.eq.1,id.eq.2)&order=id",
    "/things?select=id&or=id.eq.1",
    "/things?select=id&and=(id.gt.1,or(id.eq.2,name.is.null))&order=id",
    "/things?select=id&order=id.up",
    "/things?select=id&order=",
    "/things?select=id&order=nosuch",
    "/things?select=id&limit=x",
    "/things?select=id&limit=-1",
    "/things?select=id&limit=2&offset=1&order=id",
    "/things?select=name&id=gte.1&order=id&limit=2",
    "/things?select=name,number:id&id=lte.3&order=id.desc&limit=2",
    "/things?select=id:name,name:id&id=gt.0&order=id&limit=2",
    "/things?select=name,name&id=gte.1&order=id&limit=2",
    "/things?id=gte.1&order=id&limit=2",
    "/things?select=*,id&id=gte.1&order=id&limit=2",
    "/things?select=id::text&id=gte.1&order=id&limit=2",
    "/things?select=name,_transom_end:name&id=gte.1&order=id&limit=2",
    "/clients?select=name,projects!client_id(name)&id=gt.0&order=id,name&limit=2&projects.order=id",
    "/projects?select=id&clients.id=gt.0&order=id&limit=1",
    "/things?select=name&id=gte.99&order=id&limit=2",
    "/things?select=id&offset=-1",
    "/things?select=doc->a->c->2->>d,docb->>b&id=eq.1",
    "/things?select=doc->",
    "/things?select=name->x",
    "/things?select=ints->0,words->>1&id=eq.1",
    "/things?select=id::nosuch",
    "/things?select=id::int8,num::text,day::timestamp&id=eq.1",
    "/things?select=count",
    "/things?select=max:id.max()",
    "/things?select=id&tsv=fts(nosuch).x",
    "/things?select=id&tsv=fts.&order=id",
    "/things?select=id&range=cs.x",
    "/things?columns=id&select=id&order=id",
    "/things?on_conflict=id&select=id&order=id",
    "/things?select=id&apikey=x",
    "/units?select=*&org=eq.a&org=eq.a&order=unit",
    "/rpc/nosuch",
    "/rpc/nosuch?a=1",
    "/rpc/add",
    "/rpc/add?a=x",
    "/rpc/add?a=1",
    "/rpc/add?a=1&b=2",
    "/rpc/add?a=1&c=2",
    "/rpc/add?a=1&a=2",
    "/rpc/over?a=1",
    "/rpc/over?a=1&b=2",
    "/rpc/over",
    "/rpc/join_all?words=a&words=b",
    "/rpc/join_all?words={a,b}",
    "/rpc/join_all?words=a",
    "/rpc/nothing",
    "/rpc/null_int",
    "/rpc/list_ints",
    "/rpc/list_ints?n=5&limit=2&offset=1",
    "/rpc/list_ints?n=0",
    "/rpc/get_tasks?project=1&order=id.desc",
    "/rpc/get_tasks?project=1&select=title,projects(name)&title=eq.plan",
    "/rpc/get_tasks?project=1&select=title,users(name)&order=id&users.order=id&limit=1",
    "/rpc/get_tasks?project=1&select=nosuch",
    "/rpc/get_tasks?project=1&nosuch=eq.1",
    "/rpc/get_tasks?select=id",
    "/rpc/one_client?id=1",
    "/rpc/one_client?id=1&select=name,projects!projects_client_id_fkey(name)&projects.order=id",
    "/rpc/one_client?id=99",
    "/rpc/as_table?n=3&num=gt.1",
    "/rpc/as_table?n=3&select=txt&order=num.desc",
    "/rpc/out_args?a=3",
    "/rpc/one_out",
    "/rpc/inout_arg?n=1",
    "/rpc/get_point",
    "/rpc/get_point?select=x",
    "/rpc/a_record",
    "/rpc/an_array?a={1,2}",
    "/rpc/a_json?doc={\"a\":1}",
    "/rpc/rename_client?id=1&name=x",
    "/rpc/fail?code=P0001&message=m",
    "/rpc/odd%20name?an%20arg=4",
    "/rpc/",
    "/rpc/add/1?a=1",
];

/// Reads in the schema of odd names.
pub(super) const ODD_READS: &[&str] = &[
    "/a%20table?order=a%20column",
    "/a%20table?select=\"a%20column\",\"dot.ted\",\"com,ma\",\"pa(ren)\",select,Upper&order=\"a%20column\"",
    "/a%20table?select=ünï,%22quo%5C%22te%22&ünï=eq.ü",
    "/a%20table?\"dot.ted\"=eq.1&\"com,ma\"=eq.2&\"pa(ren)\"=eq.3",
    "/a%20table?or=(\"dot.ted\".eq.1,\"com,ma\".eq.9)",
    "/a%20table?select=upper",
    "/clients?order=id",
    "/projects",
];

/// The same table with headers that matter.
pub(super) fn headed_reads() -> Vec<Ask> {
    let clients = || Ask::get("/clients?select=id,name&order=id");
    let accepts = [
        "",
        "*/*",
        "application/json",
        "application/vnd.pgrst.object+json",
        "text/csv",
        "text/plain",
        "text/html,*/*;q=0.1",
        "application/octet-stream",
        "application/vnd.pgrst.array+json;nulls=stripped",
        "application/json; charset=utf-8",
        "application/geo+json",
        "application/openapi+json",
        "application/xml",
        "text/xml",
        "nonsense",
        "a/b;c=d, text/csv;q=0.9",
    ];
    let prefers = [
        "count=exact",
        "count=none",
        "return=representation",
        "return=minimal",
        "handling=strict",
        "handling=strict, nonsense",
        "handling=lenient, nonsense",
        "params=single-object",
        "count=planned",
        "count=estimated",
        "resolution=merge-duplicates",
        "missing=default",
        "tx=rollback",
        "count=exact, handling=strict",
        "count = exact",
        "",
    ];
    let ranges = ["0-0", "1-2", "3-9", "4-9", "9-", "x", "-1", "items=0-1", "2-1", "0-1,3-4"];
    let one = |accept: &'static str, target: &'static str| Ask::get(target).header("Accept", accept);
    let mut asks: Vec<Ask> = Vec::new();
    asks.extend(accepts.map(|accept| clients().header("Accept", accept)));
    asks.extend(accepts.map(|accept| Ask::new(Method::HEAD, "/clients?order=id").header("Accept", accept)));
    asks.extend(accepts.map(|accept| one(accept, "/clients?id=eq.1")));
    asks.extend(accepts.map(|accept| one(accept, "/rpc/add?a=1")));
    asks.extend(accepts.map(|accept| one(accept, "/rpc/get_tasks?project=3")));
    // PostgREST asks PostGIS to write down nothing, and fails where it is not installed.
    let of_nothing = accepts.into_iter().filter(|accept| *accept != "application/geo+json");
    asks.extend(of_nothing.map(|accept| one(accept, "/rpc/nothing")));
    asks.extend(prefers.map(|prefer| clients().header("Prefer", prefer)));
    asks.extend(prefers.map(|prefer| Ask::get("/rpc/get_tasks?project=1&order=id").header("Prefer", prefer)));
    for range in ranges {
        asks.push(clients().header("Range", range));
        asks.push(clients().header("Range", range).header("Range-Unit", "items"));
        asks.push(clients().header("Range", range).header("Prefer", "count=exact"));
        asks.push(Ask::new(Method::HEAD, "/clients").header("Range", range).header("Prefer", "count=exact"));
        asks.push(Ask::get("/rpc/list_ints?n=4").header("Range", range).header("Prefer", "count=exact"));
    }
    for profile in ["shop", "odd", "public", "nosuch", ""] {
        asks.push(clients().header("Accept-Profile", profile));
        asks.push(clients().header("Content-Profile", profile));
        asks.push(Ask::get("/rpc/add?a=1").header("Accept-Profile", profile));
        asks.push(Ask::get("/flights?limit=1").header("Accept-Profile", profile));
    }
    for token in ["Bearer x", "Bearer", "Basic eDp5", "bearer a.b.c"] {
        asks.push(clients().header("Authorization", token));
    }
    asks
}

/// Methods that tables or functions do not know.
pub(super) fn methods() -> Vec<Ask> {
    let methods = [Method::TRACE, Method::PATCH, Method::PUT, Method::DELETE];
    let mut asks: Vec<Ask> = methods.into_iter().map(|method| Ask::new(method, "/rpc/add?a=1")).collect();
    asks.push(Ask::new(Method::TRACE, "/clients"));
    asks.push(Ask::new(Method::HEAD, "/nosuch"));
    asks.push(Ask::new(Method::HEAD, "/rpc/add?a=1"));
    asks.push(Ask::new(Method::HEAD, "/rpc/get_tasks?project=1"));
    asks
}
