package blob

import (
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/azimuth-ml/azimuth/internal/storage"
)

// level is what a request is about.
type level byte

// The levels, as the srt field of an account SAS writes them.
const (
	onService   level = 's'
	onContainer level = 'c'
	onBlob      level = 'o'
)

const rbacPrefix = "Microsoft.Storage/storageAccounts/blobServices/"

// operation is one row of the Blob service: how a request asks for it, who may
// do it, and what does it.
type operation struct {
	// name is Microsoft's, for example "Put Block List".
	name    string
	level   level
	methods string
	restype string
	comp    string
	// header, when set, must be on the request for this row to match, and query in
	// its query.
	header, query string

	// sas are the permissions of which a service or user delegation SAS needs
	// one; "" means that such a SAS cannot do the operation. account is the same
	// for an account SAS.
	sas, account string
	// create is added to both while the blob does not exist.
	create string
	// action is the RBAC action, less rbacPrefix where it has that; data says that it is a data
	// action. addAction may be had instead while the blob does not exist, or
	// always for Append Block.
	action    string
	data      bool
	addAction string
	// public is the least public access of the container that lets anyone do it:
	// "blob", "container", or "" for never.
	public string
	// bearerOnly refuses account keys and SAS.
	bearerOnly bool
	// past says that the operation is for snapshots and versions, too.
	past bool

	// need is what the ACLs of an account with a hierarchical namespace can allow
	// the operation by, when RBAC does not.
	need need

	// tagged says that x-ms-if-tags can be a condition of it.
	tagged bool

	do func(*Service, *call) error
}

// operations finds the operation of a request.
type operations struct{ rows []operation }

// newOperations lists the Blob service. A row without do is known and not
// implemented. The permissions are those of Microsoft's "Create a service SAS",
// "Create an account SAS" and "Authorize with Microsoft Entra ID: permissions
// for blob service operations".
func newOperations() *operations {
	const get, put, del = "GET HEAD", "PUT", "DELETE"
	const container = "container"
	return &operations{rows: []operation{
		// Account and service.
		{name: "Get Account Information", level: onService, methods: get, restype: "account", comp: "properties", account: "rwdlacup", action: "getInfo/action", do: (*Service).getAccountInfo},
		{name: "Get Account Information", level: onContainer, methods: get, restype: "account", comp: "properties", sas: "rwdlac", account: "rwdlacup", action: "getInfo/action", do: (*Service).getAccountInfo},
		{name: "Get Account Information", level: onBlob, methods: get, restype: "account", comp: "properties", sas: "rwdlac", account: "rwdlacup", action: "getInfo/action", do: (*Service).getAccountInfo},
		{name: "List Containers", level: onService, methods: get, comp: "list", account: "l", action: "containers/read", do: (*Service).listContainers},
		{name: "Get Blob Service Properties", level: onService, methods: get, restype: "service", comp: "properties", account: "r", action: "read", do: (*Service).getServiceProperties},
		{name: "Set Blob Service Properties", level: onService, methods: put, restype: "service", comp: "properties", account: "w", action: "write", do: (*Service).setServiceProperties},
		{name: "Get Blob Service Stats", level: onService, methods: get, restype: "service", comp: "stats", account: "r", action: "read", do: (*Service).getServiceStats},
		{name: "Get User Delegation Key", level: onService, methods: "POST", restype: "service", comp: "userdelegationkey", action: "generateUserDelegationKey/action", bearerOnly: true, do: (*Service).getUserDelegationKey},
		{name: "Blob Batch", level: onService, methods: "POST", comp: "batch", account: "d", action: "containers/read", do: (*Service).blobBatch},
		{name: "Find Blobs by Tags", level: onService, methods: get, comp: "blobs", account: "f", action: "containers/blobs/filter/action", data: true, do: (*Service).findBlobsByTags},

		// Containers.
		{name: "Create Container", level: onContainer, methods: put, restype: container, account: "wc", action: "containers/write", do: (*Service).createContainer},
		{name: "Delete Container", level: onContainer, methods: del, restype: container, account: "d", action: "containers/delete", do: (*Service).deleteContainer},
		{name: "Get Container Properties", level: onContainer, methods: get, restype: container, account: "r", action: "containers/read", public: container, do: (*Service).getContainer},
		{name: "Get Container Metadata", level: onContainer, methods: get, restype: container, comp: "metadata", account: "r", action: "containers/read", public: container, do: (*Service).getContainer},
		{name: "Set Container Metadata", level: onContainer, methods: put, restype: container, comp: "metadata", account: "w", action: "containers/write", do: (*Service).setContainerMetadata},
		{name: "Get Container ACL", level: onContainer, methods: get, restype: container, comp: "acl", action: "containers/getAcl/action", do: (*Service).getContainerACL},
		{name: "Set Container ACL", level: onContainer, methods: put, restype: container, comp: "acl", action: "containers/setAcl/action", do: (*Service).setContainerACL},
		{name: "List Blobs", level: onContainer, methods: get, restype: container, comp: "list", sas: "l", account: "l", action: "containers/blobs/read", data: true, public: container, need: needList, do: (*Service).listBlobs},
		{name: "Lease Container", level: onContainer, methods: put, restype: container, comp: "lease", account: "wd", action: "containers/write", do: (*Service).leaseContainer},
		{name: "Restore Container", level: onContainer, methods: put, restype: container, comp: "undelete", account: "w", action: "containers/write", do: (*Service).restoreContainer},
		{name: "Rename Container", level: onContainer, methods: put, restype: container, comp: "rename", account: "w", action: "containers/write"},
		{name: "Find Blobs by Tags in Container", level: onContainer, methods: get, restype: container, comp: "blobs", sas: "f", account: "f", action: "containers/blobs/filter/action", data: true, do: (*Service).findBlobsByTags},
		{name: "Blob Batch", level: onContainer, methods: "POST", restype: container, comp: "batch", sas: "d", account: "d", action: "containers/read", do: (*Service).blobBatch},

		// Blobs. Rows with a header come before those without.
		{name: "Append Block From URL", level: onBlob, methods: put, comp: "appendblock", header: "x-ms-copy-source", sas: "aw", account: "aw", action: "containers/blobs/write", data: true, addAction: "containers/blobs/add/action", need: needAppend, tagged: true, do: (*Service).appendBlock},
		{name: "Append Block", level: onBlob, methods: put, comp: "appendblock", sas: "aw", account: "aw", action: "containers/blobs/write", data: true, addAction: "containers/blobs/add/action", need: needAppend, tagged: true, do: (*Service).appendBlock},
		{name: "Put Block From URL", level: onBlob, methods: put, comp: "block", header: "x-ms-copy-source", sas: "w", account: "w", action: "containers/blobs/write", data: true, need: needCreate, do: (*Service).putBlock},
		{name: "Put Block", level: onBlob, methods: put, comp: "block", sas: "w", account: "w", action: "containers/blobs/write", data: true, need: needCreate, do: (*Service).putBlock},
		{name: "Put Block List", level: onBlob, methods: put, comp: "blocklist", sas: "w", account: "w", action: "containers/blobs/write", data: true, need: needCreate, tagged: true, do: (*Service).putBlockList},
		{name: "Get Block List", level: onBlob, methods: get, comp: "blocklist", sas: "r", account: "r", action: "containers/blobs/read", data: true, public: "blob", need: needRead, past: true, tagged: true, do: (*Service).getBlockList},
		{name: "Get Blob Metadata", level: onBlob, methods: get, comp: "metadata", sas: "r", account: "r", action: "containers/blobs/read", data: true, public: "blob", need: needTraverse, past: true, tagged: true, do: (*Service).getBlobProperties},
		{name: "Set Blob Metadata", level: onBlob, methods: put, comp: "metadata", sas: "w", account: "w", action: "containers/blobs/write", data: true, need: needWrite, tagged: true, do: (*Service).setBlobMetadata},
		{name: "Set Blob Properties", level: onBlob, methods: put, comp: "properties", sas: "w", account: "w", action: "containers/blobs/write", data: true, need: needWrite, tagged: true, do: (*Service).setBlobProperties},
		{name: "Lease Blob", level: onBlob, methods: put, comp: "lease", sas: "wd", account: "wd", action: "containers/blobs/write", data: true, need: needWrite, tagged: true, do: (*Service).leaseBlob},
		{name: "Snapshot Blob", level: onBlob, methods: put, comp: "snapshot", sas: "wc", account: "wc", action: "containers/blobs/write", data: true, addAction: "containers/blobs/add/action", tagged: true, do: (*Service).snapshotBlob},
		{name: "Abort Copy Blob", level: onBlob, methods: put, comp: "copy", sas: "w", account: "w", action: "containers/blobs/write", data: true, need: needWrite, do: (*Service).abortCopy},
		{name: "Set Blob Tier", level: onBlob, methods: put, comp: "tier", sas: "w", account: "w", action: "containers/blobs/write", data: true, past: true, tagged: true, do: (*Service).setBlobTier},
		{name: "Get Blob Tags", level: onBlob, methods: get, comp: "tags", sas: "t", account: "t", action: "containers/blobs/tags/read", data: true, past: true, tagged: true, do: (*Service).getBlobTags},
		{name: "Set Blob Tags", level: onBlob, methods: put, comp: "tags", sas: "t", account: "t", action: "containers/blobs/tags/write", data: true, past: true, tagged: true, do: (*Service).setBlobTags},
		{name: "Undelete Blob", level: onBlob, methods: put, comp: "undelete", sas: "w", account: "w", action: "containers/blobs/write", data: true, do: (*Service).undeleteBlob},
		{name: "Set Blob Expiry", level: onBlob, methods: put, comp: "expiry", sas: "w", account: "w", action: "containers/blobs/write", data: true},
		{name: "Set Blob Legal Hold", level: onBlob, methods: put, comp: "legalhold", sas: "i", account: "i", action: "containers/blobs/immutableStorage/runAsSuperUser/action", data: true},
		{name: "Set or Delete Blob Immutability Policy", level: onBlob, methods: put + " " + del, comp: "immutabilityPolicies", sas: "i", account: "i", action: "containers/blobs/immutableStorage/runAsSuperUser/action", data: true},
		{name: "Query Blob Contents", level: onBlob, methods: "POST", comp: "query", sas: "r", account: "r", action: "containers/blobs/read", data: true},
		{name: "Put Page From URL", level: onBlob, methods: put, comp: "page", header: "x-ms-copy-source", sas: "w", account: "w", action: "containers/blobs/write", data: true, tagged: true, do: (*Service).putPage},
		{name: "Put Page", level: onBlob, methods: put, comp: "page", sas: "w", account: "w", action: "containers/blobs/write", data: true, tagged: true, do: (*Service).putPage},
		{name: "Get Page Ranges", level: onBlob, methods: get, comp: "pagelist", sas: "r", account: "r", action: "containers/blobs/read", data: true, public: "blob", past: true, tagged: true, do: (*Service).getPageRanges},
		{name: "Incremental Copy Blob", level: onBlob, methods: put, comp: "incrementalcopy", sas: "w", account: "w", action: "containers/blobs/write", data: true},
		{name: "Copy Blob", level: onBlob, methods: put, header: "x-ms-copy-source", sas: "w", account: "w", create: "c", action: "containers/blobs/write", data: true, addAction: "containers/blobs/add/action", need: needCreate, tagged: true, do: (*Service).copyBlob},
		{name: "Put Blob", level: onBlob, methods: put, sas: "w", account: "w", create: "c", action: "containers/blobs/write", data: true, addAction: "containers/blobs/add/action", need: needCreate, tagged: true, do: (*Service).putBlob},
		{name: "Get Blob Properties", level: onBlob, methods: "HEAD", sas: "r", account: "r", action: "containers/blobs/read", data: true, public: "blob", need: needTraverse, past: true, tagged: true, do: (*Service).getBlobProperties},
		{name: "Get Blob", level: onBlob, methods: "GET", sas: "r", account: "r", action: "containers/blobs/read", data: true, public: "blob", need: needRead, past: true, tagged: true, do: (*Service).getBlob},
		{name: "Delete Blob", level: onBlob, methods: del, query: "versionid", sas: "x", account: "x", action: "containers/blobs/deleteBlobVersion/action", data: true, past: true, tagged: true, do: (*Service).deleteBlob},
		{name: "Delete Blob", level: onBlob, methods: del, sas: "d", account: "d", action: "containers/blobs/delete", data: true, need: needDelete, past: true, tagged: true, do: (*Service).deleteBlob},
	}}
}

// Operation is a row of the coverage list.
type Operation struct {
	// Name is Microsoft's name of the operation.
	Name string
	// Implemented is false when the operation answers 501.
	Implemented bool
}

// Operations lists what the Blob service of Azure can do, and whether this one
// does it. The operations of the other services but their properties, all of
// them unimplemented, are not in it.
func Operations() []Operation {
	return append([]Operation{{Name: "Preflight Blob Request", Implemented: true}}, newOperations().list()...)
}

func (o *operations) list() []Operation {
	var out []Operation
	for _, op := range o.rows {
		o := Operation{Name: op.name, Implemented: op.do != nil}
		if !slices.Contains(out, o) {
			out = append(out, o)
		}
	}
	return out
}

// find returns the operation that a request asks for, or the error that says why
// there is none.
func (o *operations) find(l level, r *http.Request, q url.Values) (*operation, error) {
	restype, comp := strings.ToLower(q.Get("restype")), strings.ToLower(q.Get("comp"))
	known := false
	for i := range o.rows {
		op := &o.rows[i]
		if op.level != l || op.restype != restype || strings.ToLower(op.comp) != comp {
			continue
		}
		known = true
		if !storage.HasWord(op.methods, r.Method) {
			continue
		}
		if op.header != "" && r.Header.Get(op.header) == "" || op.query != "" && q.Get(op.query) == "" {
			continue
		}
		return op, nil
	}
	switch {
	case known:
		return nil, refuse("UnsupportedHttpVerb")
	case comp != "":
		return nil, badQuery("comp", q.Get("comp"), "")
	case restype != "":
		return nil, badQuery("restype", q.Get("restype"), "")
	case l == onService:
		return nil, refuse("InvalidQueryParameterValue").With("Reason", "The comp query parameter is missing.")
	}
	return nil, refuse("UnsupportedHttpVerb")
}
