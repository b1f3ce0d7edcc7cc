// Package queue is the Queue service of storage accounts: queues of messages
// that a reader takes for a time and deletes when it is done with them. All of it
// is in the store; a message is found by when it becomes visible.
package queue

import (
	"context"
	"net/http"
	"strings"
	"sync"

	"github.com/azimuth-ml/azimuth/internal/storage"
)

// Service serves the hosts {account}.queue.core.windows.net.
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
		base: storage.NewBase(cfg, "Windows-Azure-Queue/1.0 Microsoft-HTTPAPI/2.0"),
		eng:  newEngine(cfg.Store, cfg.Clock),
		rows: rows(),
		stop: stop,
	}
	s.tasks.Go(func() {
		s.eng.reap(background, func(err error) { s.base.Logger.Error("queue garbage collection failed", "error", err) })
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
	s              *Service
	queue, message string
	row            *storage.Row[*call]
}

// The levels of requests.
const (
	onService  = "service"
	onQueue    = "queue"
	onMessages = "messages"
	onMessage  = "message"
)

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
	if err != nil {
		s.base.FailXML(base, err)
	}
}

func (c *call) serve() error {
	level, err := c.parsePath()
	if err != nil {
		return err
	}
	if c.row, err = storage.FindOperation(c.s.rows, level, c.HTTP, c.Query); err != nil {
		return err
	}
	if c.Grant, err = c.s.base.Auth.Authorize(c.Request, &c.row.Need, c); err != nil {
		return err
	}
	if c.row.Do == nil {
		return storage.NotImplemented(c.row.Name)
	}
	return c.row.Do(c)
}

func (c *call) parsePath() (level string, err error) {
	parts := strings.Split(strings.Trim(c.HTTP.URL.Path, "/"), "/")
	if parts[0] == "" {
		return onService, nil
	}
	c.queue = parts[0]
	if err := checkName(c.queue); err != nil {
		return "", err
	}
	switch {
	case len(parts) == 1:
		return onQueue, nil
	case parts[1] != "messages" || len(parts) > 3:
		return "", storage.Refuse("InvalidUri")
	case len(parts) == 2:
		return onMessages, nil
	}
	c.message = parts[2]
	return onMessage, nil
}

// checkName holds a queue's name to Microsoft's "Naming Queues and Metadata".
func checkName(name string) error {
	if len(name) < 3 || len(name) > 63 {
		return &storage.Error{Status: http.StatusBadRequest, Code: "OutOfRangeInput", Message: "The specified resource name length is not within the permissible limits."}
	}
	for i, r := range name {
		alnum := (r >= 'a' && r <= 'z') || (r >= '0' && r <= '9')
		if !alnum && (r != '-' || i == 0 || i == len(name)-1 || name[i-1] == '-') {
			return storage.Refuse("InvalidResourceName")
		}
	}
	return nil
}

// SASResource implements storage.Target.
func (c *call) SASResource(*storage.SAS) (string, error) {
	if c.queue == "" {
		return "", storage.Refuse("AuthorizationFailure")
	}
	return "/queue/" + c.Account.Name + "/" + c.queue, nil
}

// Policy implements storage.Target.
func (c *call) Policy(ctx context.Context, id string) (*storage.AccessPolicy, error) {
	q, err := c.s.eng.queue(ctx, c.Account.UID, c.queue)
	if storage.HasCode(err, "QueueNotFound") {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return storage.FindPolicy(q.Policies, id), nil
}

// Allow implements storage.Target.
func (c *call) Allow(ctx context.Context, principal string) error {
	scope := ""
	if c.queue != "" {
		scope = "/queueServices/default/queues/" + c.queue
	}
	return c.s.base.Roles(ctx, c.Call, principal, scope, c.row.Data, c.row.Actions...)
}

// Anonymous implements storage.Target.
func (c *call) Anonymous(context.Context) error { return storage.AnonymousRefusal(c.Call) }

// Operations lists what the Queue service of Azure can do, and whether this one
// does it.
func Operations() []storage.Operation {
	return append([]storage.Operation{{Name: "Preflight Queue Request", Implemented: true}}, storage.ListOperations(rows())...)
}

// rows lists the service. The permissions are those of Microsoft's "Create a
// service SAS", "Create an account SAS" and "Permissions for queue service
// operations".
func rows() []storage.Row[*call] {
	const get, put, del, post = "GET HEAD", "PUT", "DELETE", "POST"
	const queues, messages = "queueServices/queues/", "queueServices/queues/messages/"
	onS := func(account string) storage.Need { return storage.Need{Level: 's', Account: account} }
	onC := func(account, sas string) storage.Need { return storage.Need{Level: 'c', Account: account, SAS: sas} }
	onO := func(letters string) storage.Need { return storage.Need{Level: 'o', Account: letters, SAS: letters} }
	one := func(a ...string) []string { return a }
	plain := func(f func(*storage.Base, *storage.Call) error) func(*call) error {
		return func(c *call) error { return f(c.s.base, c.Call) }
	}
	return []storage.Row[*call]{
		{Name: "Get Queue Service Properties", Level: onService, Methods: get, Restype: "service", Comp: "properties", Need: onS("r"), Actions: one("queueServices/read"), Do: plain((*storage.Base).GetProperties)},
		{Name: "Set Queue Service Properties", Level: onService, Methods: put, Restype: "service", Comp: "properties", Need: onS("w"), Actions: one("queueServices/write"), Do: plain((*storage.Base).SetProperties)},
		{Name: "Get Queue Service Stats", Level: onService, Methods: get, Restype: "service", Comp: "stats", Need: onS("r"), Actions: one("queueServices/read"), Do: plain((*storage.Base).GetStats)},
		{Name: "Get User Delegation Key", Level: onService, Methods: post, Restype: "service", Comp: "userdelegationkey", Need: storage.Need{Level: 's', BearerOnly: true}, Actions: one("queueServices/generateUserDelegationKey/action")},
		{Name: "List Queues", Level: onService, Methods: get, Comp: "list", Need: onS("l"), Actions: one(queues + "read"), Do: (*call).listQueues},

		{Name: "Create Queue", Level: onQueue, Methods: put, Need: onC("wc", ""), Actions: one(queues + "write"), Do: (*call).createQueue},
		{Name: "Delete Queue", Level: onQueue, Methods: del, Need: onC("d", ""), Actions: one(queues + "delete"), Do: (*call).deleteQueue},
		{Name: "Get Queue Metadata", Level: onQueue, Methods: get, Comp: "metadata", Need: onC("r", "r"), Actions: one(queues + "read"), Do: (*call).getMetadata},
		{Name: "Set Queue Metadata", Level: onQueue, Methods: put, Comp: "metadata", Need: onC("w", ""), Actions: one(queues + "write"), Do: (*call).setMetadata},
		{Name: "Get Queue ACL", Level: onQueue, Methods: get, Comp: "acl", Need: onC("", ""), Actions: one(queues + "getAcl/action"), Do: (*call).getACL},
		{Name: "Set Queue ACL", Level: onQueue, Methods: put, Comp: "acl", Need: onC("", ""), Actions: one(queues + "setAcl/action"), Do: (*call).setACL},

		{Name: "Put Message", Level: onMessages, Methods: post, Need: onO("a"), Actions: one(messages+"add/action", messages+"write"), Data: true, Do: (*call).putMessage},
		{Name: "Peek Messages", Level: onMessages, Methods: get, Query: "peekonly", Need: onO("r"), Actions: one(messages + "read"), Data: true, Do: (*call).peekMessages},
		{Name: "Get Messages", Level: onMessages, Methods: get, Need: onO("p"), Actions: one(messages+"process/action", messages+"delete"), Data: true, Do: (*call).getMessages},
		{Name: "Clear Messages", Level: onMessages, Methods: del, Need: storage.Need{Level: 'o', Account: "d"}, Actions: one(messages + "delete"), Data: true, Do: (*call).clearMessages},
		{Name: "Update Message", Level: onMessage, Methods: put, Need: onO("u"), Actions: one(messages + "write"), Data: true, Do: (*call).updateMessage},
		{Name: "Delete Message", Level: onMessage, Methods: del, Need: onO("p"), Actions: one(messages+"process/action", messages+"delete"), Data: true, Do: (*call).deleteMessage},
	}
}
