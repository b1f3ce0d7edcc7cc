package blob

import (
	"encoding/binary"
	"fmt"
	"time"

	"github.com/azimuth-ml/azimuth/internal/storage"
	"github.com/azimuth-ml/azimuth/internal/store"
)

// The buckets of the store. Keys of containers are "<account uid>/<name>"; keys
// of blobs are "<container id>/<name>", where the ID is of this instance of the
// container, so that a container made again under a name starts empty at once.
const (
	bucketContainers = "blob.container" // containerRec
	bucketBlobs      = "blob.blob"      // blobRec
	bucketStaged     = "blob.staged"    // <staging ID> → stagedRec, while a blob has uncommitted blocks
	bucketBlocks     = "blob.block"     // <staging ID>/<block ID> → blockRec
	bucketPages      = "blob.page"      // <map ID>/<16 hex offset> → pageRec
	bucketExtents    = "blob.extent"    // <list ID>/<16 hex offset> → []extent
	bucketInline     = "blob.inline"    // <data ID> → CRC64 and bytes
	bucketFiles      = "blob.file"      // <file ID> → fileRec: what the directory must hold
	bucketGarbage    = "blob.garbage"   // <sequence> → garbage
	bucketTags       = "blob.tag"       // <container ID>/<tag>\0<value>\0<name>: the index of tags
	bucketRetention  = "blob.retention" // <account uid> → RetentionPolicy, if it keeps anything
	bucketLifecycle  = "blob.lifecycle" // <account uid> → lifecycleRec
	bucketPast       = "blob.past"      // <blob key>\0<time> → pastRec
	bucketGone       = "blob.gone"      // <account uid>/<name>\0<version> → goneContainer
	bucketGoneDue    = "blob.gonedue"   // <16 hex Unix nanoseconds>/<key of goneContainer>
	bucketDue        = "blob.due"       // <16 hex Unix nanoseconds>/<key of pastRec>, of what is to go
)

// Type is a kind of blob.
type Type string

// The types of blobs, as x-ms-blob-type names them.
const (
	BlockBlob  Type = "BlockBlob"
	AppendBlob Type = "AppendBlob"
	pageBlob   Type = "PageBlob"
)

// Headers are what a writer sets on a blob and every reader gets back.
type Headers struct {
	ContentType        string `json:"ct,omitempty"`
	ContentEncoding    string `json:"ce,omitempty"`
	ContentLanguage    string `json:"cl,omitempty"`
	ContentDisposition string `json:"cd,omitempty"`
	CacheControl       string `json:"cc,omitempty"`
	// ContentMD5 is a checksum that the service keeps but, except for Put Blob,
	// does not verify.
	ContentMD5 []byte `json:"md5,omitempty"`
	// Metadata are the x-ms-meta- pairs. Names are lower case.
	Metadata map[string]string `json:"meta,omitempty"`
}

// Properties describe a blob.
type Properties struct {
	Name     string
	Type     Type
	Size     int64 // bytes
	ETag     string
	Created  time.Time
	Modified time.Time
	// CommittedBlocks counts the appends of an append blob.
	CommittedBlocks int
	Headers
}

type containerRec struct {
	Name     string                 `json:"name"`
	ID       string                 `json:"id"`
	ETag     uint64                 `json:"etag"`
	Modified int64                  `json:"mod"` // Unix nanoseconds
	Metadata map[string]string      `json:"meta,omitempty"`
	Public   string                 `json:"public,omitempty"` // "", "blob" or "container"
	Policies []storage.AccessPolicy `json:"policies,omitempty"`
	// Tree says that blobs are kept as a tree of directories, see tree.go. The
	// ID is that of the root directory.
	Tree bool `json:"tree,omitempty"`
	// Posix is of the root directory of a tree.
	Posix *posix    `json:"posix,omitempty"`
	Lease *leaseRec `json:"lease,omitempty"`
	// Past says that there may be something in the past of its blobs.
	Past bool `json:"past,omitempty"`
}

// blobRec is one blob. Its bytes are in exactly one of Inline, File, List and
// Pages, or nowhere when Size is 0.
type blobRec struct {
	Type     Type   `json:"type"`
	ETag     uint64 `json:"etag"`
	Created  int64  `json:"new"` // Unix nanoseconds
	Modified int64  `json:"mod"` // Unix nanoseconds
	Size     int64  `json:"size"`
	Inline   string `json:"inline,omitempty"`
	File     string `json:"file,omitempty"`
	List     string `json:"list,omitempty"`
	Pages    string `json:"pages,omitempty"`
	// Origin, of a page blob, is the ETag with which it was made or overwritten,
	// and Sequence its sequence number.
	Origin   uint64 `json:"origin,omitempty"`
	Sequence int64  `json:"seq,omitempty"`
	// Blocks counts committed blocks (of a list) or appends.
	Blocks int `json:"blocks,omitempty"`
	// Staged is the staging ID of the blob's uncommitted blocks, if it has any.
	Staged string `json:"staged,omitempty"`
	// Uncommitted marks a blob that consists of staged blocks only. It is not
	// there for any operation but those on blocks.
	Uncommitted bool   `json:"uncommitted,omitempty"`
	Tier        string `json:"tier,omitempty"` // as set by a client; "" is inferred
	TierChanged int64  `json:"tierchanged,omitempty"`
	Headers
	Copy *copyRec `json:"copy,omitempty"`
	// Dir is the ID of a directory of a tree, which has no bytes.
	Dir string `json:"dir,omitempty"`
	// Posix is of a path of a tree; nil is what the superuser makes by default.
	Posix *posix            `json:"posix,omitempty"`
	Tags  map[string]string `json:"tags,omitempty"`
	Lease *leaseRec         `json:"lease,omitempty"`
	// Version is the ID of the version that this is; 0 is of none.
	Version uint64 `json:"ver,omitempty"`
	former  bool   // read from the past
	// deletion is set when soft delete keeps a path of a tree: the time that names it.
	deletion uint64
}

// copyRec tells where a blob was copied from.
type copyRec struct {
	ID        string `json:"id"`
	Source    string `json:"src"`
	Completed int64  `json:"done"` // Unix nanoseconds
	// Status is one of the states of copies, "" of one that was done at once. Total
	// is how many bytes there are to copy, and Why what went wrong.
	Status string `json:"status,omitempty"`
	Total  int64  `json:"total,omitempty"`
	Why    string `json:"why,omitempty"`
}

// extent is a run of bytes of a committed block list.
type extent struct {
	Block  string `json:"b"` // block ID
	Size   int64  `json:"n"`
	File   string `json:"f,omitempty"`
	Inline string `json:"i,omitempty"`
}

// blockRec is an uncommitted block.
type blockRec struct {
	Size   int64  `json:"n"`
	File   string `json:"f,omitempty"`
	Inline string `json:"i,omitempty"`
}

// stagedRec sums up the uncommitted blocks of a blob.
type stagedRec struct {
	Blob     string `json:"blob"` // blob key
	IDLength int    `json:"len"`
	Count    int    `json:"n"`
	Last     int64  `json:"t"` // Unix nanoseconds of the last Put Block
}

// fileRec is what a blob file must hold. Bytes behind Size are what a crash left
// of an append that was never acknowledged.
type fileRec struct {
	Size   int64  `json:"n"`
	CRC    uint64 `json:"crc,string"`
	Refs   int    `json:"refs,omitempty"` // extents that name it; 0 means 1
	Append bool   `json:"a,omitempty"`
}

// garbage is work that a deletion left to the reaper, because it is long.
type garbage struct {
	Kind string `json:"kind"` // "list", "pages", "staged", "container", "past", "gone" or "account"
	ID   string `json:"id"`   // list, page map, staging, container or directory ID, or account UID
}

func etagString(v uint64) string { return storage.ETag(v) }

func unixTime(ns int64) time.Time { return time.Unix(0, ns).UTC() }

func containerKey(uid, name string) string { return uid + "/" + name }
func blobKey(containerID, name string) string {
	return containerID + "/" + name
}
func blockKey(staging, id string) string { return staging + "/" + id }
func extentKey(list string, offset int64) string {
	return fmt.Sprintf("%s/%016x", list, offset)
}

// dataID names small data of a write. What is written together lies together, so
// that it changes few pages of the store.
func dataID(etag uint64) string { return fmt.Sprintf("%016x", etag) + storage.RandomHex(4) }

// saveInline keeps small data in the store, with its checksum before it.
func saveInline(tx store.Tx, id string, crc uint64, data []byte) error {
	b := binary.LittleEndian.AppendUint64(make([]byte, 0, 8+len(data)), crc)
	return tx.Put(bucketInline, id, append(b, data...))
}

func loadInline(tx store.Tx, id string) (crc uint64, data []byte, err error) {
	b, err := tx.Get(bucketInline, id)
	if err != nil {
		return 0, nil, fmt.Errorf("read inline blob data %s: %w", id, err)
	}
	if len(b) < 8 {
		return 0, nil, fmt.Errorf("read inline blob data %s: row of %d bytes", id, len(b))
	}
	return binary.LittleEndian.Uint64(b), b[8:], nil
}
