// Package files is the File service of storage accounts over REST. A share is a
// directory and a file in it is a file, so that what programs write there and
// what clients write over REST are the same bytes. What Azure keeps beside the
// bytes is in the store.
package files

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"

	"github.com/azimuth-ml/azimuth/internal/storage"
	"github.com/azimuth-ml/azimuth/internal/store"
)

// Dirs keeps the directories of shares. account is the UID of an account.
type Dirs interface {
	// Share returns the directory of a share, which it makes if need be.
	Share(account, share string) (string, error)
	// Path returns the directory of a share and whether it is there.
	Path(account, share string) (dir string, there bool, err error)
	// List returns the shares of an account, in the order of their names.
	List(account string) ([]string, error)
	// Remove removes a share. It is gone at once; its space comes back when the
	// function that is returned was called.
	Remove(account, share string) (free func() error, err error)
	// Total is how many bytes the disk of the shares has, 0 if that is not known.
	Total() int64
}

// Config is what a Service needs.
type Config struct {
	storage.Config
	Dirs Dirs
}

// Service serves the hosts {account}.file.core.windows.net.
type Service struct {
	base *storage.Base
	eng  *engine
	rows []storage.Row[*call]

	stop  context.CancelFunc
	tasks sync.WaitGroup
}

var _ http.Handler = (*Service)(nil)

// Open starts the service. Close stops its background work.
func Open(ctx context.Context, cfg Config) *Service {
	background, stop := context.WithCancel(context.WithoutCancel(ctx))
	s := &Service{
		base: storage.NewBase(cfg.Config, "Windows-Azure-File/1.0 Microsoft-HTTPAPI/2.0"),
		rows: rows(),
		stop: stop,
	}
	s.eng = newEngine(cfg.Store, cfg.Clock, cfg.Dirs)
	s.tasks.Go(func() {
		s.eng.reap(background, func(err error) { s.base.Logger.Error("file share garbage collection failed", "error", err) })
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
	s           *Service
	share, path string
	row         *storage.Row[*call]
}

// The levels of requests.
const (
	onService   = "service"
	onShare     = "share"
	onDirectory = "directory"
	onFile      = "file"
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
	level, err := c.address()
	if err != nil {
		return err
	}
	// The restype of a directory tells it from a file; rows have it as level.
	q := c.Query
	if strings.EqualFold(q.Get("restype"), "directory") {
		q = map[string][]string{}
		for k, v := range c.Query {
			if k != "restype" {
				q[k] = v
			}
		}
	}
	if c.row, err = storage.FindOperation(c.s.rows, level, c.HTTP, q); err != nil {
		return err
	}
	if c.Grant, err = c.s.base.Auth.Authorize(c.Request, &c.row.Need, c); err != nil {
		return err
	}
	if c.row.Do == nil {
		return storage.NotImplemented(c.row.Name)
	}
	for _, p := range []string{"sharesnapshot", "prevsharesnapshot"} {
		if c.Query.Get(p) != "" {
			return storage.NotImplemented(c.row.Name + " of a snapshot of a share")
		}
	}
	for header, feature := range map[string]string{
		"x-ms-structured-body": "structured message bodies", "x-ms-mode": "NFS modes", "x-ms-owner": "NFS owners", "x-ms-group": "NFS groups",
	} {
		if c.HTTP.Header.Get(header) != "" {
			return storage.NotImplemented(c.row.Name + " with " + feature)
		}
	}
	return c.row.Do(c)
}

// address takes the path of a request apart.
func (c *call) address() (level string, err error) {
	p := strings.Trim(strings.ReplaceAll(c.HTTP.URL.Path, `\`, "/"), "/")
	if p == "" {
		return onService, nil
	}
	share, path, _ := strings.Cut(p, "/")
	if err := checkShareName(share); err != nil {
		return "", err
	}
	c.share = share
	keepDots := strings.EqualFold(c.HTTP.Header.Get("x-ms-allow-trailing-dot"), "true")
	if c.path, err = cleanPath(path, keepDots); err != nil {
		return "", err
	}
	restype := strings.ToLower(c.Query.Get("restype"))
	switch {
	case restype == "directory":
		return onDirectory, nil
	case c.path != "":
		return onFile, nil
	}
	return onShare, nil
}

// SASResource implements storage.Target.
func (c *call) SASResource(t *storage.SAS) (string, error) {
	name := "/file/" + c.Account.Name + "/" + c.share
	switch {
	case c.share == "":
	case t.ResourceType() == "s":
		return name, nil
	case t.ResourceType() == "f" && c.path != "":
		// the path as the client wrote it is what it signed
		_, path, _ := strings.Cut(strings.TrimPrefix(c.HTTP.URL.Path, "/"), "/")
		return name + "/" + path, nil
	}
	return "", storage.Refuse("AuthorizationFailure")
}

// Policy implements storage.Target.
func (c *call) Policy(ctx context.Context, id string) (*storage.AccessPolicy, error) {
	rec, err := c.s.eng.share(ctx, c.Account.UID, c.share)
	if storage.HasCode(err, "ShareNotFound") {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return storage.FindPolicy(rec.Policies, id), nil
}

// The first versions that take bearer tokens for files, and for shares.
const (
	bearerFiles  = "2022-11-02"
	bearerShares = "2024-11-04"
)

// Allow implements storage.Target. A bearer token reaches files only where the
// request says so, and by roles that pass over the permissions of the files.
func (c *call) Allow(ctx context.Context, principal string) error {
	if c.HTTP.Header.Get("x-ms-file-request-intent") == "" {
		return storage.MissingHeader("x-ms-file-request-intent")
	}
	if v := c.HTTP.Header.Get("x-ms-file-request-intent"); !strings.EqualFold(v, "backup") {
		return storage.BadHeader("x-ms-file-request-intent", v)
	}
	if !c.row.Data {
		if c.Version < bearerShares {
			return storage.Refuse("FileOAuthManagementApiRestrictedToSrp")
		}
		scope := ""
		if c.share != "" {
			scope = "/fileServices/default/shares/" + c.share
		}
		return c.s.base.Roles(ctx, c.Call, principal, scope, false, c.row.Actions...)
	}
	if c.Version < bearerFiles {
		return storage.AuthFailed("Authentication scheme Bearer is not supported in this version.")
	}
	// Each of the actions is needed.
	for _, a := range c.row.Actions {
		if err := c.s.base.Roles(ctx, c.Call, principal, "/fileServices/default/fileshares/"+c.share, true, a); err != nil {
			return err
		}
	}
	return nil
}

// Anonymous implements storage.Target.
func (c *call) Anonymous(context.Context) error { return storage.AnonymousRefusal(c.Call) }

// Operations lists what the File service of Azure can do, and whether this one
// does it.
func Operations() []storage.Operation {
	return append([]storage.Operation{{Name: "Preflight File Request", Implemented: true}}, storage.ListOperations(rows())...)
}

// rows lists the service. The permissions are those of Microsoft's "Create a
// service SAS", "Create an account SAS" and "Permissions for file service
// operations".
func rows() []storage.Row[*call] {
	const get, put, del, post = "GET HEAD", "PUT", "DELETE", "POST"
	const service, shares, data = "fileServices/", "fileServices/shares/", "fileServices/fileshares/files/"
	onS := func(account string) storage.Need { return storage.Need{Level: 's', Account: account} }
	onC := func(account, sas string) storage.Need { return storage.Need{Level: 'c', Account: account, SAS: sas} }
	onO := func(letters string) storage.Need { return storage.Need{Level: 'o', Account: letters, SAS: letters} }
	one := func(a ...string) []string { return a }
	read := one(data+"read", service+"readFileBackupSemantics/action")
	write := one(data+"write", service+"writeFileBackupSemantics/action")
	remove := one(data+"delete", service+"writeFileBackupSemantics/action")
	plain := func(f func(*storage.Base, *storage.Call) error) func(*call) error {
		return func(c *call) error { return f(c.s.base, c.Call) }
	}
	delegation := func(c *call) error {
		x, err := c.s.base.Auth.UserDelegationKey(c.W, c.Request)
		if err != nil {
			return err
		}
		return c.End(x)
	}
	rows := []storage.Row[*call]{
		{Name: "Get File Service Properties", Level: onService, Methods: get, Restype: "service", Comp: "properties", Need: onS("r"), Actions: one(service + "read"), Do: plain((*storage.Base).GetProperties)},
		{Name: "Set File Service Properties", Level: onService, Methods: put, Restype: "service", Comp: "properties", Need: onS("w"), Actions: one(service + "write"), Do: plain((*storage.Base).SetProperties)},
		{Name: "Get User Delegation Key", Level: onService, Methods: post, Restype: "service", Comp: "userdelegationkey", Need: storage.Need{Level: 's', BearerOnly: true}, Actions: one(service + "generateUserDelegationKey/action"), Do: delegation},
		{Name: "List Shares", Level: onService, Methods: get, Comp: "list", Need: onS("l"), Actions: one(shares + "read"), Do: (*call).listShares},

		{Name: "Create Share", Level: onShare, Methods: put, Restype: "share", Need: onC("wc", ""), Actions: one(shares + "write"), Do: (*call).createShare},
		{Name: "Delete Share", Level: onShare, Methods: del, Restype: "share", Need: onC("d", ""), Actions: one(shares + "delete"), Do: (*call).deleteShare},
		{Name: "Get Share Properties", Level: onShare, Methods: get, Restype: "share", Need: onC("r", "r"), Actions: one(shares + "read"), Do: (*call).getShare},
		{Name: "Set Share Properties", Level: onShare, Methods: put, Restype: "share", Comp: "properties", Need: onC("w", ""), Actions: one(shares + "write"), Do: (*call).setShareProperties},
		{Name: "Get Share Metadata", Level: onShare, Methods: get, Restype: "share", Comp: "metadata", Need: onC("r", "r"), Actions: one(shares + "read"), Do: (*call).getShare},
		{Name: "Set Share Metadata", Level: onShare, Methods: put, Restype: "share", Comp: "metadata", Need: onC("w", ""), Actions: one(shares + "write"), Do: (*call).setShareMetadata},
		{Name: "Get Share ACL", Level: onShare, Methods: get, Restype: "share", Comp: "acl", Need: onC("", ""), Actions: one(shares + "read"), Do: (*call).getShareACL},
		{Name: "Set Share ACL", Level: onShare, Methods: put, Restype: "share", Comp: "acl", Need: onC("", ""), Actions: one(shares + "write"), Do: (*call).setShareACL},
		{Name: "Get Share Stats", Level: onShare, Methods: get, Restype: "share", Comp: "stats", Need: onC("r", "r"), Actions: one(shares + "read"), Do: (*call).getShareStats},
		{Name: "Lease Share", Level: onShare, Methods: put, Restype: "share", Comp: "lease", Need: onC("wd", ""), Actions: one(shares + "write"), Do: (*call).leaseShare},
		{Name: "Snapshot Share", Level: onShare, Methods: put, Restype: "share", Comp: "snapshot", Need: onC("wc", ""), Actions: one(shares + "write")},
		{Name: "Restore Share", Level: onShare, Methods: put, Restype: "share", Comp: "undelete", Need: onC("w", ""), Actions: one(shares + "write"), Do: (*call).restoreShare},
		{Name: "Create Permission", Level: onShare, Methods: put, Restype: "share", Comp: "filepermission", Need: onC("w", "w"), Data: true, Actions: write, Do: (*call).createPermission},
		{Name: "Get Permission", Level: onShare, Methods: get, Restype: "share", Comp: "filepermission", Need: onC("r", "r"), Data: true, Actions: read, Do: (*call).getPermission},

		{Name: "List Directories and Files", Level: onDirectory, Methods: get, Comp: "list", Need: storage.Need{Level: 'c', Account: "l", SAS: "l"}, Data: true, Actions: read, Do: (*call).list},
		{Name: "Create Directory", Level: onDirectory, Methods: put, Need: onO("cw"), Data: true, Actions: write, Do: (*call).createDirectory},
		{Name: "Delete Directory", Level: onDirectory, Methods: del, Need: onO("d"), Data: true, Actions: remove, Do: (*call).deleteDirectory},
		{Name: "Get Directory Properties", Level: onDirectory, Methods: get, Need: onO("r"), Data: true, Actions: read, Do: (*call).getDirectory},
		{Name: "Set Directory Properties", Level: onDirectory, Methods: put, Comp: "properties", Need: onO("w"), Data: true, Actions: write, Do: (*call).setDirectoryProperties},
		{Name: "Get Directory Metadata", Level: onDirectory, Methods: get, Comp: "metadata", Need: onO("r"), Data: true, Actions: read, Do: (*call).getDirectory},
		{Name: "Set Directory Metadata", Level: onDirectory, Methods: put, Comp: "metadata", Need: onO("w"), Data: true, Actions: write, Do: (*call).setDirectoryMetadata},
		{Name: "Rename Directory", Level: onDirectory, Methods: put, Comp: "rename", Need: onO("w"), Data: true, Actions: write, Do: (*call).rename},

		{Name: "Create File", Level: onFile, Methods: put, Header: "x-ms-type", Need: onO("cw"), Data: true, Actions: write, Do: (*call).createFile},
		{Name: "Copy File", Level: onFile, Methods: put, Header: "x-ms-copy-source", Need: onO("cw"), Data: true, Actions: write, Do: (*call).copyFile},
		{Name: "Abort Copy File", Level: onFile, Methods: put, Comp: "copy", Need: onO("w"), Data: true, Actions: write, Do: (*call).abortCopy},
		{Name: "Get File", Level: onFile, Methods: "GET", Need: onO("r"), Data: true, Actions: read, Do: (*call).getFile},
		{Name: "Get File Properties", Level: onFile, Methods: "HEAD", Need: onO("r"), Data: true, Actions: read, Do: (*call).getFileProperties},
		{Name: "Set File Properties", Level: onFile, Methods: put, Comp: "properties", Need: onO("w"), Data: true, Actions: write, Do: (*call).setFileProperties},
		{Name: "Get File Metadata", Level: onFile, Methods: get, Comp: "metadata", Need: onO("r"), Data: true, Actions: read, Do: (*call).getFileMetadata},
		{Name: "Set File Metadata", Level: onFile, Methods: put, Comp: "metadata", Need: onO("w"), Data: true, Actions: write, Do: (*call).setFileMetadata},
		{Name: "Put Range from URL", Level: onFile, Methods: put, Comp: "range", Header: "x-ms-copy-source", Need: onO("w"), Data: true, Actions: write},
		{Name: "Put Range", Level: onFile, Methods: put, Comp: "range", Need: onO("w"), Data: true, Actions: write, Do: (*call).putRange},
		{Name: "List Ranges", Level: onFile, Methods: get, Comp: "rangelist", Need: onO("r"), Data: true, Actions: read, Do: (*call).listRanges},
		{Name: "Delete File", Level: onFile, Methods: del, Need: onO("d"), Data: true, Actions: remove, Do: (*call).deleteFile},
		{Name: "Rename File", Level: onFile, Methods: put, Comp: "rename", Need: onO("w"), Data: true, Actions: write, Do: (*call).rename},
		{Name: "Lease File", Level: onFile, Methods: put, Comp: "lease", Need: onO("w"), Data: true, Actions: write, Do: (*call).leaseFile},
		{Name: "Create Symbolic Link", Level: onFile, Methods: put, Restype: "symboliclink", Need: onO("cw"), Data: true, Actions: write},
		{Name: "Create Hard Link", Level: onFile, Methods: put, Restype: "hardlink", Need: onO("cw"), Data: true, Actions: write},
	}
	for _, level := range []string{onDirectory, onFile} {
		rows = append(rows,
			storage.Row[*call]{Name: "List Handles", Level: level, Methods: get, Comp: "listhandles", Need: onO("r"), Data: true, Actions: read, Do: (*call).listHandles},
			storage.Row[*call]{Name: "Force Close Handles", Level: level, Methods: put, Comp: "forceclosehandles", Need: onO("w"), Data: true, Actions: write, Do: (*call).closeHandles})
	}
	return rows
}

// ForgetIn removes what the store has of the shares of an account instance that is
// no more.
func (s *Service) ForgetIn(tx store.Tx, account string) error {
	var keys, ids []string
	for row, err := range tx.Scan(bucketShares, store.Range{Prefix: account + "/"}) {
		if err != nil {
			return err
		}
		rec, err := decodeShare(row.Key, row.Value)
		if err != nil {
			return err
		}
		keys, ids = append(keys, row.Key), append(ids, rec.ID)
	}
	for i, k := range keys {
		if err := tx.Put(bucketGarbage, ids[i], nil); err != nil {
			return err
		}
		if err := tx.Delete(bucketShares, k); err != nil {
			return fmt.Errorf("forget share %s: %w", k, err)
		}
	}
	return tx.Delete(bucketRetention, account)
}

// Reclaim tells that a transaction which removed something is durable.
func (s *Service) Reclaim() { s.eng.reaper.Kick() }
