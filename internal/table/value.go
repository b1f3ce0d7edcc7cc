package table

import (
	"bytes"
	"cmp"
	"encoding/base64"
	"encoding/json"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/azimuth-ml/azimuth/internal/storage"
)

// kind is a type of property, as the Entity Data Model names it behind "Edm.".
type kind string

// The kinds of properties that the Table service has.
const (
	kindString   kind = "String"
	kindInt32    kind = "Int32"
	kindInt64    kind = "Int64"
	kindDouble   kind = "Double"
	kindBoolean  kind = "Boolean"
	kindDateTime kind = "DateTime"
	kindGUID     kind = "Guid"
	kindBinary   kind = "Binary"
)

// value is the value of a property. Text is its canonical form: a number in
// decimals, a time as dateForm, a GUID in lower case, bytes in base64.
type value struct {
	Kind kind   `json:"t,omitempty"` // "" is kindString
	Text string `json:"v,omitempty"`
}

func (v value) kind() kind {
	if v.Kind == "" {
		return kindString
	}
	return v.Kind
}

// property is a property of an entity, other than its keys and time.
type property struct {
	Name string `json:"n"`
	value
}

// maxValue is the most bytes of a string, in UTF-16, and of binary data.
const maxValue = 64 << 10

// dateForm has Azure's resolution of 100 ns.
const dateForm = "2006-01-02T15:04:05.9999999Z"

// oldest is the first time that a property can have.
func oldest() time.Time { return time.Date(1601, 1, 1, 0, 0, 0, 0, time.UTC) }

func badValue(name string) *storage.Error {
	return storage.Refuse("InvalidInput").With("Reason", "The value of the property "+name+" is not of its type.")
}

// parseValue reads a property of a JSON document. edm is its odata.type, "" if
// it has none. A nil value is of a null, which is not kept.
func parseValue(name, edm string, raw json.RawMessage) (*value, error) {
	if string(raw) == "null" {
		return nil, nil
	}
	text, isString := "", false
	switch raw[0] {
	case '"':
		if err := json.Unmarshal(raw, &text); err != nil {
			return nil, storage.Refuse("InvalidInput")
		}
		isString = true
	case '{', '[':
		return nil, badValue(name)
	default:
		text = string(raw)
	}
	k, hasType := strings.CutPrefix(edm, "Edm.")
	if edm != "" && !hasType {
		return nil, badValue(name)
	}
	if edm == "" {
		switch {
		case isString:
			k = string(kindString)
		case text == "true", text == "false":
			k = string(kindBoolean)
		default:
			// A whole number that Int32 does not hold is taken for a Double; what
			// Azure does with it is not documented.
			k = string(kindDouble)
			if _, err := strconv.ParseInt(text, 10, 32); err == nil {
				k = string(kindInt32)
			}
		}
	}
	return makeValue(name, kind(k), text)
}

// makeValue makes a value of a kind of the forms in which clients write it.
func makeValue(name string, k kind, text string) (*value, error) {
	v := &value{Kind: k, Text: text}
	var err error
	switch k {
	case kindString:
		if !utf8.ValidString(text) {
			return nil, badValue(name)
		}
		if utf16Size(text) > maxValue {
			return nil, storage.Refuse("PropertyValueTooLarge")
		}
		v.Kind = ""
	case kindInt32:
		_, err = strconv.ParseInt(text, 10, 32)
	case kindInt64:
		_, err = strconv.ParseInt(text, 10, 64)
	case kindDouble:
		var f float64
		switch text {
		case "NaN", "Infinity", "-Infinity":
		default:
			if f, err = strconv.ParseFloat(text, 64); err == nil {
				v.Text = formatDouble(f)
			}
		}
	case kindBoolean:
		switch strings.ToLower(text) {
		case "true", "1":
			v.Text = "true"
		case "false", "0":
			v.Text = "false"
		default:
			return nil, badValue(name)
		}
	case kindDateTime:
		t, ok := parseDate(text)
		if !ok {
			return nil, badValue(name)
		}
		if t.Before(oldest()) {
			return nil, storage.Refuse("OutOfRangeInput").With("PropertyName", name)
		}
		v.Text = t.Format(dateForm)
	case kindGUID:
		if !isGUID(text) {
			return nil, badValue(name)
		}
		v.Text = strings.ToLower(text)
	case kindBinary:
		b, berr := base64.StdEncoding.DecodeString(text)
		if berr != nil {
			return nil, badValue(name)
		}
		if len(b) > maxValue {
			return nil, storage.Refuse("PropertyValueTooLarge")
		}
	default:
		return nil, badValue(name)
	}
	if err != nil {
		return nil, badValue(name)
	}
	return v, nil
}

func utf16Size(s string) int {
	n := 0
	for _, r := range s {
		n += 2 * max(utf16.RuneLen(r), 1)
	}
	return n
}

// formatDouble writes a number so that it is seen not to be whole.
func formatDouble(f float64) string {
	switch {
	case math.IsNaN(f):
		return "NaN"
	case math.IsInf(f, 1):
		return "Infinity"
	case math.IsInf(f, -1):
		return "-Infinity"
	}
	form := byte('f')
	if a := math.Abs(f); a != 0 && (a < 1e-5 || a >= 1e15) {
		form = 'e'
	}
	s := strconv.FormatFloat(f, form, -1, 64)
	if !strings.ContainsAny(s, ".e") {
		s += ".0"
	}
	return s
}

// parseDate reads a time in one of the forms of ISO 8601. One without a zone is
// of UTC.
func parseDate(text string) (time.Time, bool) {
	for _, form := range []string{time.RFC3339Nano, "2006-01-02T15:04:05.999999999", "2006-01-02T15:04Z07:00", "2006-01-02T15:04", time.DateOnly} {
		if t, err := time.Parse(form, text); err == nil {
			return t.UTC().Truncate(100 * time.Nanosecond), true
		}
	}
	return time.Time{}, false
}

func isGUID(s string) bool {
	if len(s) != 36 {
		return false
	}
	for i, r := range s {
		switch {
		case i == 8 || i == 13 || i == 18 || i == 23:
			if r != '-' {
				return false
			}
		case '0' <= r && r <= '9', 'a' <= r && r <= 'f', 'A' <= r && r <= 'F':
		default:
			return false
		}
	}
	return true
}

// size is about how much of an entity's megabyte a property takes, by
// Microsoft's "Understanding the Table service data model".
func (p *property) size() int {
	n := 8 + utf16Size(p.Name)
	switch p.kind() {
	case kindString:
		return n + 4 + utf16Size(p.Text)
	case kindBinary:
		return n + 4 + base64.StdEncoding.DecodedLen(len(p.Text))
	case kindGUID:
		return n + 16
	case kindInt32:
		return n + 4
	case kindBoolean:
		return n + 1
	}
	return n + 8
}

func (k kind) isNumber() bool { return k == kindInt32 || k == kindInt64 || k == kindDouble }

// compare orders a and b. It is false when they cannot be compared, as values of
// different kinds: those only numbers are compared across. Whether Azure compares
// them is not documented.
func compare(a, b value) (int, bool) {
	if a.kind().isNumber() && b.kind().isNumber() {
		if a.kind() != kindDouble && b.kind() != kindDouble {
			x, _ := strconv.ParseInt(a.Text, 10, 64)
			y, _ := strconv.ParseInt(b.Text, 10, 64)
			return cmp.Compare(x, y), true
		}
		x, _ := strconv.ParseFloat(strings.Replace(a.Text, "Infinity", "Inf", 1), 64)
		y, _ := strconv.ParseFloat(strings.Replace(b.Text, "Infinity", "Inf", 1), 64)
		return cmp.Compare(x, y), !math.IsNaN(x) && !math.IsNaN(y)
	}
	if a.kind() != b.kind() {
		return 0, false
	}
	switch a.kind() {
	case kindDateTime:
		x, _ := parseDate(a.Text)
		y, _ := parseDate(b.Text)
		return x.Compare(y), true
	case kindBinary:
		x, _ := base64.StdEncoding.DecodeString(a.Text)
		y, _ := base64.StdEncoding.DecodeString(b.Text)
		return bytes.Compare(x, y), true
	}
	return strings.Compare(a.Text, b.Text), true
}
