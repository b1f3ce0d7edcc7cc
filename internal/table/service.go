// Package table is the Table service of storage accounts: tables of entities,
// which have two keys and properties of the types of OData's Entity Data Model.
// All of it is in the store, in the order of the keys.
package table

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"sync"

	"github.com/azimuth-ml/azimuth/internal/storage"
)

// Service serves the hosts {account}.table.core.windows.net.
type Service struct {
	base *storage.Base
	eng  *engine
	rows []storage.Row[*call]

	stop  context.CancelFunc
	tasks sync.WaitGroup
}

var _ http.Handler = (*Service)(nil)

// Open starts the service. Close stops its background work.
func Open(ctx context.Context, cfg storage.Config) *Service {
	background, stop := context.WithCancel(context.WithoutCancel(ctx))
	s := &Service{
		base: storage.NewBase(cfg, "Windows-Azure-Table/1.0 Microsoft-HTTPAPI/2.0"),
		eng:  newEngine(cfg.Store, cfg.Clock),
		rows: rows(),
		stop: stop,
	}
	s.tasks.Go(func() {
		s.eng.reap(background, func(err error) { s.base.Logger.Error("table garbage collection failed", "error", err) })
	})
	return s
}

// Close stops the background work and waits for it. The store stays open.
func (s *Service) Close() error {
	s.stop()
	s.tasks.Wait()
	return nil
}

// call is one request on its way through the service.
type call struct {
	*storage.Call
	s   *Service
	at  address
	row *storage.Row[*call]
	// within are the keys that the SAS of the request is for, nil for all.
	within *keyRange
}

// ServeHTTP implements http.Handler.
func (s *Service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	base, done, err := s.base.Arrive(w, r)
	c := &call{Call: base, s: s}
	if err == nil && !done {
		err = c.serve()
		if c.row != nil {
			c.Tell(c.row.Name)
		}
	}
	if err == nil {
		return
	}
	if c.row != nil && c.row.Comp != "" {
		s.base.FailXML(base, err)
		return
	}
	s.base.Fail(base, err, func(e *storage.Error) { c.writeError(e, "") })
}

func (c *call) serve() error {
	c.W.Header()["Cache-Control"] = []string{"no-cache"}
	c.W.Header()["X-Content-Type-Options"] = []string{"nosniff"}
	if m := c.HTTP.Header.Get("X-HTTP-Method"); m != "" && c.HTTP.Method == http.MethodPost {
		signed := *c.HTTP
		c.HTTP = c.HTTP.WithContext(c.Context())
		c.HTTP.Method = strings.ToUpper(m)
		return c.route(&signed)
	}
	return c.route(c.HTTP)
}

// route finds and does the operation. signed is the request as the client signed
// it.
func (c *call) route(signed *http.Request) error {
	var err error
	if c.at, err = parsePath(c.HTTP.URL); err != nil {
		return err
	}
	if c.row, err = storage.FindOperation(c.s.rows, c.at.level, c.HTTP, c.Query); err != nil {
		return err
	}
	q := *c.Request
	q.HTTP = signed
	if c.Grant, err = c.s.base.Auth.Authorize(&q, &c.row.Need, c); err != nil {
		return err
	}
	if err := c.bySAS(c.row.Name); err != nil {
		return err
	}
	if c.row.Do == nil {
		return storage.NotImplemented(c.row.Name)
	}
	return c.row.Do(c)
}

// bySAS checks what a SAS says beyond its permissions.
func (c *call) bySAS(operation string) error {
	t := c.Grant.SAS
	if t == nil {
		return nil
	}
	c.within = sasRange(t)
	if (operation == opInsertOrReplace || operation == opInsertOrMerge) &&
		(!strings.Contains(c.Grant.Permissions, "a") || !strings.Contains(c.Grant.Permissions, "u")) {
		return storage.Refuse("AuthorizationPermissionMismatch")
	}
	if c.at.level == onEntity && c.within != nil && !c.within.has(c.at.pk, c.at.rk) {
		return storage.Refuse("AuthorizationFailure")
	}
	return nil
}

// sasRange is the range of keys that a SAS is for, nil for all.
func sasRange(t *storage.SAS) *keyRange {
	_, spk, srk, epk, erk := t.Table()
	if spk == "" && epk == "" {
		return nil
	}
	return &keyRange{startPK: spk, startRK: srk, endPK: epk, endRK: erk, hasStartRK: srk != "", hasEnd: epk != "", hasEndRK: erk != ""}
}

// SASResource implements storage.Target.
func (c *call) SASResource(t *storage.SAS) (string, error) {
	tn, _, _, _, _ := t.Table()
	if tn == "" || c.at.table != "" && !strings.EqualFold(tn, c.at.table) || c.at.table == "" && c.at.level != onBatch {
		return "", storage.Refuse("AuthorizationFailure")
	}
	return "/table/" + c.Account.Name + "/" + strings.ToLower(tn), nil
}

// Policy implements storage.Target.
func (c *call) Policy(ctx context.Context, id string) (*storage.AccessPolicy, error) {
	name := c.at.table
	if name == "" {
		name = c.Query.Get("tn") // of a batch
	}
	t, err := c.s.eng.table(ctx, c.Account.UID, name)
	if storage.HasCode(err, "TableNotFound") {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return storage.FindPolicy(t.Policies, id), nil
}

// Allow implements storage.Target.
func (c *call) Allow(ctx context.Context, principal string) error {
	if c.at.level == onBatch {
		c.Principal = principal // each of its requests is decided
		return nil
	}
	return c.allow(ctx, principal, c.row, c.at.table)
}

func (c *call) allow(ctx context.Context, principal string, row *storage.Row[*call], table string) error {
	scope := ""
	if table != "" {
		scope = "/tableServices/default/tables/" + table
	}
	err := c.s.base.Roles(ctx, c.Call, principal, scope, row.Data, row.Actions...)
	if storage.HasCode(err, "AuthorizationPermissionMismatch") && (row.Name == opInsertOrReplace || row.Name == opInsertOrMerge) {
		// either the right to write, or those to add and to update
		for _, a := range []string{entities + "add/action", entities + "update/action"} {
			if err := c.s.base.Roles(ctx, c.Call, principal, scope, true, a); err != nil {
				return err
			}
		}
		return nil
	}
	return err
}

// Anonymous implements storage.Target.
func (c *call) Anonymous(context.Context) error { return storage.AnonymousRefusal(c.Call) }

// writeError writes the error document of OData. prefix goes before the message.
func (c *call) writeError(e *storage.Error, prefix string) {
	h := c.W.Header()
	h["Content-Type"] = []string{"application/json;odata=minimalmetadata;streaming=true;charset=utf-8"}
	h["DataServiceVersion"] = []string{"3.0;"}
	c.W.WriteHeader(e.Status)
	_, _ = c.W.Write(c.errorDocument(e, prefix)) // the client may be gone
}

func (c *call) errorDocument(e *storage.Error, prefix string) []byte {
	type message struct {
		Lang  string `json:"lang"`
		Value string `json:"value"`
	}
	text := prefix + e.Message
	for _, d := range e.Details {
		text += "\n" + d.Name + ": " + d.Value
	}
	text += "\nRequestId:" + c.ID + "\nTime:" + storage.FullTime(c.s.base.Clock.Now())
	b, err := json.Marshal(map[string]any{"odata.error": map[string]any{"code": e.Code, "message": message{"en-US", text}}})
	if err != nil {
		return nil // of strings alone, there is no error
	}
	return b
}

// The names of operations that are looked at by name.
const (
	opInsertOrReplace = "Insert Or Replace Entity"
	opInsertOrMerge   = "Insert Or Merge Entity"
)

// entities begins the RBAC actions on entities.
const entities = "tableServices/tables/entities/"

// Operations lists what the Table service of Azure can do, and whether this one
// does it.
func Operations() []storage.Operation {
	return append([]storage.Operation{{Name: "Preflight Table Request", Implemented: true}}, storage.ListOperations(rows())...)
}

// rows lists the service. The permissions are those of Microsoft's "Create a
// service SAS", "Create an account SAS" and "Permissions for table service
// operations".
func rows() []storage.Row[*call] {
	const get, put, del, post = "GET", "PUT", "DELETE", "POST"
	const tables = "tableServices/tables/"
	onS := func(account string) storage.Need { return storage.Need{Level: 's', Account: account} }
	onC := func(account string) storage.Need { return storage.Need{Level: 'c', Account: account} }
	onO := func(letters string) storage.Need { return storage.Need{Level: 'o', Account: letters, SAS: letters} }
	one := func(a ...string) []string { return a }
	plain := func(f func(*storage.Base, *storage.Call) error) func(*call) error {
		return func(c *call) error { return f(c.s.base, c.Call) }
	}
	return []storage.Row[*call]{
		{Name: "Get Table Service Properties", Level: onService, Methods: get, Restype: "service", Comp: "properties", Need: onS("r"), Actions: one("tableServices/read"), Do: plain((*storage.Base).GetProperties)},
		{Name: "Set Table Service Properties", Level: onService, Methods: put, Restype: "service", Comp: "properties", Need: onS("w"), Actions: one("tableServices/write"), Do: plain((*storage.Base).SetProperties)},
		{Name: "Get Table Service Stats", Level: onService, Methods: get, Restype: "service", Comp: "stats", Need: onS("r"), Actions: one("tableServices/read"), Do: plain((*storage.Base).GetStats)},
		{Name: "Get User Delegation Key", Level: onService, Methods: post, Restype: "service", Comp: "userdelegationkey", Need: storage.Need{Level: 's', BearerOnly: true}, Actions: one("tableServices/generateUserDelegationKey/action")},

		{Name: "Query Tables", Level: onTables, Methods: get, Need: onC("l"), Actions: one(tables + "read"), Do: (*call).queryTables},
		{Name: "Create Table", Level: onTables, Methods: post, Need: onC("wc"), Actions: one(tables + "write"), Do: (*call).createTable},
		{Name: "Query Tables", Level: onTableItem, Methods: get, Need: onC("l"), Actions: one(tables + "read"), Do: (*call).getTable},
		{Name: "Delete Table", Level: onTableItem, Methods: del, Need: onC("d"), Actions: one(tables + "delete"), Do: (*call).deleteTable},
		{Name: "Get Table ACL", Level: onTable, Methods: get, Comp: "acl", Need: onC(""), Actions: one(tables + "getAcl/action"), Do: (*call).getACL},
		{Name: "Set Table ACL", Level: onTable, Methods: put, Comp: "acl", Need: onC(""), Actions: one(tables + "setAcl/action"), Do: (*call).setACL},

		{Name: "Query Entities", Level: onTable, Methods: get, Need: onO("r"), Actions: one(entities + "read"), Data: true, Do: (*call).queryEntities},
		{Name: "Insert Entity", Level: onTable, Methods: post, Need: onO("a"), Actions: one(entities+"write", entities+"add/action"), Data: true, Do: (*call).insertEntity},
		{Name: "Query Entities", Level: onEntity, Methods: get, Need: onO("r"), Actions: one(entities + "read"), Data: true, Do: (*call).getEntity},
		{Name: "Update Entity", Level: onEntity, Methods: put, Header: "If-Match", Need: onO("u"), Actions: one(entities+"write", entities+"update/action"), Data: true, Do: (*call).writeEntity},
		{Name: "Merge Entity", Level: onEntity, Methods: "MERGE PATCH", Header: "If-Match", Need: onO("u"), Actions: one(entities+"write", entities+"update/action"), Data: true, Do: (*call).writeEntity},
		{Name: opInsertOrReplace, Level: onEntity, Methods: put, Need: onO("u"), Actions: one(entities + "write"), Data: true, Do: (*call).writeEntity},
		{Name: opInsertOrMerge, Level: onEntity, Methods: "MERGE PATCH", Need: onO("u"), Actions: one(entities + "write"), Data: true, Do: (*call).writeEntity},
		{Name: "Delete Entity", Level: onEntity, Methods: del, Need: onO("d"), Actions: one(entities + "delete"), Data: true, Do: (*call).writeEntity},
		{Name: "Entity Group Transaction", Level: onBatch, Methods: post, Need: storage.Need{Level: 'o', AnyLevel: true, Account: "raud", SAS: "raud"}, Do: (*call).batch},
	}
}
