package storage

import (
	"context"
	"net/http"
	"regexp"
	"strings"
	"time"

	"github.com/azimuth-ml/azimuth/internal/arm"
	"github.com/azimuth-ml/azimuth/internal/store"
)

// Item is a queue, a table or a file share as ARM shows it. Fields that a kind
// does not have are left empty.
type Item struct {
	Name string
	// Metadata is of queues and shares.
	Metadata map[string]string
	// Policies are the stored access policies of tables and shares.
	Policies []Policy
	// Messages counts those of a queue.
	Messages int

	// The rest is of shares. QuotaGiB is how large the share may become.
	QuotaGiB int
	// Tier is TransactionOptimized, Hot, Cool or Premium; "" leaves it as it is.
	Tier        string
	TierChanged time.Time
	// ETag is quoted.
	ETag     string
	Modified time.Time
	// LeaseStatus, LeaseState and LeaseDuration are those of the data plane, in
	// lower case. Put does not look at them.
	LeaseStatus, LeaseState, LeaseDuration string
}

// Policy is a stored access policy.
type Policy struct{ ID, Start, Expiry, Permission string }

// Items is the part of a data plane that keeps items of one kind. account is the
// UID of the account's resource.
type Items interface {
	// Item returns an item, or nil when there is none of that name.
	Item(ctx context.Context, tx store.Tx, account, name string) (*Item, error)
	// ListItems returns up to limit items behind the name after, in the order of
	// their names.
	ListItems(ctx context.Context, tx store.Tx, account, after string, limit int) ([]Item, error)
	// PutItem makes an item or changes it.
	PutItem(ctx context.Context, tx store.Tx, account string, i Item) error
	// DeleteItem removes an item with all that is in it. Removing none is not an
	// error.
	DeleteItem(ctx context.Context, tx store.Tx, account, name string) error
}

// itemKind is a type of virtual resources that are items of a data plane.
type itemKind struct {
	segments string // "queueServices/queues"
	items    Items
	name     arm.NameRule
	status   [2]int
	notFound [2]string // code and message
	// read takes over what a body says; doc is the opposite. alone says that the
	// document is not one of a list.
	read          func(body arm.Doc, account *arm.Resource, i *Item) error
	doc           func(i *Item, alone bool) arm.Doc
	unimplemented map[string]string
}

func (p *provider) item(k itemKind) *arm.ResourceType {
	service, _, _ := strings.Cut(k.segments, "/")
	resource := func(account *arm.Resource, i *Item, alone bool) *arm.Resource {
		return &arm.Resource{ID: account.ID + "/" + service + "/default/" + strings.TrimPrefix(k.segments, service+"/") + "/" + i.Name,
			Body: k.doc(i, alone), Private: arm.Doc{}, Modified: i.Modified}
	}
	return &arm.ResourceType{
		Type:                AccountType + "/" + k.segments,
		NoProvisioningState: true,
		Virtual:             true,
		PutStatus:           k.status,
		DeleteStatus:        http.StatusNoContent,
		Name:                k.name,
		Unimplemented:       k.unimplemented,
		Put: func(ctx context.Context, put *arm.Put) error {
			account, err := p.accountOf(ctx, put.Tx, put.ID)
			if err != nil {
				return err
			}
			i, err := k.items.Item(ctx, put.Tx, account.UID, itemName(put.ID))
			if err != nil {
				return err
			}
			if i == nil {
				i = &Item{Name: put.ID.Name()}
			}
			if err := k.read(put.Resource.Body, account, i); err != nil {
				return err
			}
			if err := k.items.PutItem(ctx, put.Tx, account.UID, *i); err != nil {
				return err
			}
			if i, err = k.items.Item(ctx, put.Tx, account.UID, i.Name); err != nil {
				return err
			}
			put.Resource.Body = k.doc(i, true)
			return nil
		},
		Delete: func(ctx context.Context, d *arm.Delete) error {
			account, err := p.accountOf(ctx, d.Tx, d.ID)
			if err != nil {
				return err
			}
			d.After(p.Containers.Reclaim)
			return k.items.DeleteItem(ctx, d.Tx, account.UID, itemName(d.ID))
		},
		Default: func(ctx context.Context, tx store.Tx, id arm.ID) (*arm.Resource, error) {
			account, err := p.accountOf(ctx, tx, id)
			if err != nil {
				return nil, err
			}
			i, err := k.items.Item(ctx, tx, account.UID, itemName(id))
			if err != nil {
				return nil, err
			}
			if i == nil {
				return nil, arm.Errorf(http.StatusNotFound, k.notFound[0], "%s", k.notFound[1])
			}
			return resource(account, i, true), nil
		},
		List: func(ctx context.Context, req *arm.Request, parent arm.ID) (*arm.Page, error) {
			return p.listItems(ctx, req, parent, k.items, func(account *arm.Resource, i *Item) *arm.Resource { return resource(account, i, false) })
		},
	}
}

// itemName is what an item is looked up by: IDs are in any case, and names of
// queues and shares in lower case only. Tables are found in any.
func itemName(id arm.ID) string { return strings.ToLower(id.Name()) }

func (p *provider) listItems(ctx context.Context, req *arm.Request, parent arm.ID, items Items, resource func(*arm.Resource, *Item) *arm.Resource) (*arm.Page, error) {
	for _, name := range []string{"$filter", "$expand"} {
		if req.Query.Get(name) != "" {
			return nil, arm.NotImplemented("%s on %s", name, parent.Type())
		}
	}
	list := func(tx store.Tx, account, after string, limit int) ([]Item, error) {
		return items.ListItems(ctx, tx, account, after, limit)
	}
	return listStored(ctx, p, req, parent, list, func(i *Item) string { return i.Name }, resource)
}

// listStored lists what a data plane keeps of an account, in the order of its
// names. Clients of the storage services ask for pages by $maxpagesize.
func listStored[T any](ctx context.Context, p *provider, req *arm.Request, parent arm.ID,
	list func(tx store.Tx, account, after string, limit int) ([]T, error), name func(*T) string, resource func(*arm.Resource, *T) *arm.Resource) (*arm.Page, error) {
	if n := req.Query.Get("$maxpagesize"); n != "" {
		if _, err := req.PageSize(); err != nil { // a wrong $top is refused all the same
			return nil, err
		}
		req.Query.Set("$top", n)
	}
	size, after, err := req.Paging()
	if err != nil {
		return nil, err
	}
	page := &arm.Page{}
	err = p.kernel.Store().View(ctx, func(tx store.Tx) error {
		if _, err := p.kernel.Load(ctx, tx, parent); err != nil {
			return err
		}
		account, err := p.accountOf(ctx, tx, parent)
		if err != nil {
			return err
		}
		found, err := list(tx, account.UID, after, size+1)
		if err != nil {
			return err
		}
		if len(found) > size {
			found = found[:size]
			page.Next = arm.EncodeToken(name(&found[size-1]))
		}
		for i := range found {
			doc, err := p.kernel.Render(ctx, tx, resource(account, &found[i]))
			if err != nil {
				return err
			}
			page.Value = append(page.Value, doc)
		}
		return nil
	})
	return page, err
}

func readMetadata(body arm.Doc, i *Item) error {
	if !body.Has("properties.metadata") {
		return nil
	}
	i.Metadata = map[string]string{}
	return body.Decode("properties.metadata", &i.Metadata)
}

func metadataDoc(m map[string]string) map[string]any {
	out := map[string]any{}
	for k, v := range m {
		out[k] = v
	}
	return out
}

// readPolicies reads properties.signedIdentifiers.
func readPolicies(body arm.Doc, i *Item) error {
	if !body.Has("properties.signedIdentifiers") {
		return nil
	}
	var in []struct {
		ID           string `json:"id"`
		AccessPolicy struct {
			Start      string `json:"startTime"`
			Expiry     string `json:"expiryTime"`
			Permission string `json:"permission"`
		} `json:"accessPolicy"`
	}
	if err := body.Decode("properties.signedIdentifiers", &in); err != nil {
		return err
	}
	if len(in) > 5 {
		return arm.BadRequest("InvalidRequestPropertyValue", "There are at most five stored access policies.")
	}
	i.Policies = nil
	for _, p := range in {
		i.Policies = append(i.Policies, Policy{ID: p.ID, Start: p.AccessPolicy.Start, Expiry: p.AccessPolicy.Expiry, Permission: p.AccessPolicy.Permission})
	}
	return nil
}

func policiesDoc(policies []Policy) []any {
	out := []any{}
	for _, p := range policies {
		access := map[string]any{}
		for k, v := range map[string]string{"startTime": p.Start, "expiryTime": p.Expiry, "permission": p.Permission} {
			if v != "" {
				access[k] = v
			}
		}
		out = append(out, map[string]any{"id": p.ID, "accessPolicy": access})
	}
	return out
}

func (p *provider) queue() *arm.ResourceType {
	return p.item(itemKind{
		segments: "queueServices/queues", items: p.Queues, status: [2]int{http.StatusOK, http.StatusOK},
		name: arm.NameRule{Pattern: regexp.MustCompile(`^[a-z0-9](-?[a-z0-9]){2,62}$`),
			Text: "A queue name has 3 to 63 lower-case letters, digits and single hyphens, and begins and ends with a letter or digit."},
		notFound: [2]string{"QueueNotFound", "The specified queue does not exist."},
		read:     func(body arm.Doc, _ *arm.Resource, i *Item) error { return readMetadata(body, i) },
		doc: func(i *Item, alone bool) arm.Doc {
			props := map[string]any{"metadata": metadataDoc(i.Metadata)}
			if alone {
				props["approximateMessageCount"] = i.Messages
			}
			return arm.Doc{"properties": props}
		},
	})
}

func (p *provider) table() *arm.ResourceType {
	return p.item(itemKind{
		segments: "tableServices/tables", items: p.Tables, status: [2]int{http.StatusOK, http.StatusOK},
		name: arm.NameRule{Pattern: regexp.MustCompile(`^[A-Za-z][A-Za-z0-9]{2,62}$`),
			Text: "A table name has 3 to 63 letters and digits, and begins with a letter."},
		notFound: [2]string{"TableNotFound", "The table specified does not exist."},
		read:     func(body arm.Doc, _ *arm.Resource, i *Item) error { return readPolicies(body, i) },
		doc: func(i *Item, _ bool) arm.Doc {
			props := map[string]any{"tableName": i.Name}
			if len(i.Policies) > 0 {
				props["signedIdentifiers"] = policiesDoc(i.Policies)
			}
			return arm.Doc{"properties": props}
		},
	})
}

// share is a file share, which programs of this server can make as well.
func (p *provider) share() *arm.ResourceType {
	t := p.item(itemKind{
		segments: "fileServices/shares", items: p.Shares,
		name: arm.NameRule{Pattern: regexp.MustCompile(`^[a-z0-9](-?[a-z0-9]){2,62}$`),
			Text: "A share name has 3 to 63 lower-case letters, digits and single hyphens, and begins and ends with a letter or digit."},
		notFound: [2]string{"ShareNotFound", "The specified share does not exist."},
		unimplemented: map[string]string{
			"properties.enabledProtocols=NFS":          "serves NFS",
			"properties.rootSquash":                    "serves NFS",
			"properties.provisionedIops":               "provisions a share's speed",
			"properties.provisionedBandwidthMibps":     "provisions a share's speed",
			"properties.fileSharePaidBursting.enabled": "provisions a share's speed",
		},
		read: readShare,
		doc:  shareDoc,
	})
	t.DeleteStatus = http.StatusOK
	return t
}

func readShare(body arm.Doc, account *arm.Resource, i *Item) error {
	premium := account.Body.String("kind") == "FileStorage"
	tiers := []string{"TransactionOptimized", "Hot", "Cool"}
	if premium {
		tiers = []string{"Premium"}
	}
	if err := checkEnum(body, "properties.accessTier", tiers...); err != nil {
		return err
	}
	i.Tier = body.String("properties.accessTier")
	if body.Has("properties.shareQuota") {
		most := 5120
		if body := account.Body; premium || body.String("properties.largeFileSharesState") == "Enabled" {
			most = 102400
		}
		n := body.Int("properties.shareQuota", 0)
		if n < 1 || n > most {
			return arm.BadRequest("InvalidRequestPropertyValue", "The value '%d' is not allowed for property shareQuota. It must be from 1 to %d.", n, most)
		}
		i.QuotaGiB = n
	}
	if err := readMetadata(body, i); err != nil {
		return err
	}
	return readPolicies(body, i)
}

func shareDoc(i *Item, _ bool) arm.Doc {
	tier := i.Tier
	if tier == "" {
		tier = "TransactionOptimized"
	}
	props := map[string]any{
		"shareQuota": i.QuotaGiB, "accessTier": tier, "enabledProtocols": "SMB", "lastModifiedTime": arm.Timestamp(i.Modified),
		"leaseStatus": capital(i.LeaseStatus), "leaseState": capital(i.LeaseState),
	}
	if !i.TierChanged.IsZero() {
		props["accessTierChangeTime"] = arm.Timestamp(i.TierChanged)
	}
	if i.LeaseDuration != "" {
		props["leaseDuration"] = capital(i.LeaseDuration)
	}
	if len(i.Metadata) > 0 {
		props["metadata"] = metadataDoc(i.Metadata)
	}
	if len(i.Policies) > 0 {
		props["signedIdentifiers"] = policiesDoc(i.Policies)
	}
	return arm.Doc{"etag": i.ETag, "properties": props}
}
