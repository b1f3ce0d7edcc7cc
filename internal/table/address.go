package table

import (
	"net/http"
	"net/url"
	"strings"
	"unicode/utf8"

	"github.com/azimuth-ml/azimuth/internal/storage"
)

// The levels of requests.
const (
	onService   = "service"
	onTables    = "tables"
	onTableItem = "table item" // Tables('x')
	onTable     = "table"
	onEntity    = "entity"
	onBatch     = "batch"
)

// address is what a URL is about.
type address struct {
	level         string
	table, pk, rk string
}

// parsePath reads /Tables, /Tables('x'), /x, /x(), /x(PartitionKey='a',RowKey='b')
// and /$batch.
func parsePath(u *url.URL) (address, error) {
	p := strings.Trim(u.Path, "/")
	if p == "" {
		return address{level: onService}, nil
	}
	if p == "$batch" {
		return address{level: onBatch}, nil
	}
	name, keys, hasKeys := strings.Cut(p, "(")
	if hasKeys {
		var ok bool
		if keys, ok = strings.CutSuffix(keys, ")"); !ok {
			return address{}, storage.Refuse("InvalidUri")
		}
	}
	if name == "Tables" {
		if keys == "" {
			return address{level: onTables}, nil
		}
		table, rest, ok := literal(keys)
		if !ok || rest != "" {
			return address{}, storage.Refuse("InvalidUri")
		}
		return address{level: onTableItem, table: table}, checkTableName(table)
	}
	a := address{level: onTable, table: name}
	if err := checkTableName(name); err != nil {
		return a, err
	}
	if strings.TrimSpace(keys) == "" {
		return a, nil
	}
	a.level = onEntity
	seen := map[string]bool{}
	for rest := keys; rest != ""; {
		key, after, ok := strings.Cut(rest, "=")
		if !ok {
			return a, storage.Refuse("InvalidUri")
		}
		v, tail, ok := literal(strings.TrimSpace(after))
		if !ok {
			return a, storage.Refuse("InvalidUri")
		}
		switch key = strings.TrimSpace(key); key {
		case "PartitionKey":
			a.pk = v
		case "RowKey":
			a.rk = v
		default:
			return a, storage.Refuse("InvalidUri")
		}
		seen[key] = true
		tail = strings.TrimSpace(tail)
		if tail == "" {
			break
		}
		if rest, ok = strings.CutPrefix(tail, ","); !ok || strings.TrimSpace(rest) == "" {
			return a, storage.Refuse("InvalidUri")
		}
	}
	if len(seen) != 2 {
		return a, storage.Refuse("InvalidUri")
	}
	if err := checkKey(a.pk); err != nil {
		return a, err
	}
	return a, checkKey(a.rk)
}

// literal reads a string in quotes from the start of s.
func literal(s string) (v, rest string, ok bool) {
	if !strings.HasPrefix(s, "'") {
		return "", "", false
	}
	p := filterParser{text: s}
	v, ok = p.quoted()
	return v, s[p.pos:], ok
}

// checkTableName holds a name to Microsoft's "Understanding the Table service
// data model".
func checkTableName(name string) error {
	if len(name) < 3 || len(name) > 63 {
		return &storage.Error{Status: http.StatusBadRequest, Code: "OutOfRangeInput", Message: "The specified resource name length is not within the permissible limits."}
	}
	for i, r := range name {
		letter := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z'
		if !letter && (i == 0 || r < '0' || r > '9') {
			return storage.Refuse("InvalidResourceName")
		}
	}
	if strings.EqualFold(name, "tables") {
		return storage.Refuse("InvalidInput")
	}
	return nil
}

// maxKey is the most bytes of a key, in UTF-16.
const maxKey = 1 << 10

// checkKey holds a key to the same rules. Which error Azure has for a character
// that is not allowed is not documented.
func checkKey(key string) error {
	if !utf8.ValidString(key) {
		return storage.Refuse("InvalidInput")
	}
	if utf16Size(key) > maxKey {
		return storage.Refuse("KeyValueTooLarge")
	}
	for _, r := range key {
		if strings.ContainsRune(`/\#?`, r) || r < 0x20 || r >= 0x7f && r < 0xa0 {
			return storage.Refuse("OutOfRangeInput").With("Reason", "A key has a character that is not allowed.")
		}
	}
	return nil
}
