package kql

import (
	"crypto/rand"
	"fmt"
	"net/netip"
	"net/url"
	"regexp"
	"strconv"
	"strings"
)

// textFunctions are those of regular expressions and of text with a form: URLs,
// paths, versions, addresses.
func textFunctions() map[string]*function {
	return map[string]*function{
		"replace_regex": {args: "sss", ret: String, prepare: withRegex(1, func(re *regexp.Regexp, a []Value) Value {
			return StringValue(re.ReplaceAllString(a[0].s, rewrite(a[2].s)))
		})},
		"trim":         {args: "ss", ret: String, prepare: trimmer(true, true)},
		"trim_start":   {args: "ss", ret: String, prepare: trimmer(true, false)},
		"trim_end":     {args: "ss", ret: String, prepare: trimmer(false, true)},
		"extract":      {special: bindExtract, usage: "extract(string, integer, string [, typeof(type)])"},
		"extract_all":  {args: "sas?", ret: Dynamic, nulls: true, prepare: extractAll},
		"extract_json": {special: bindExtractJSON, usage: "extract_json(string, any [, typeof(type)])"},
		"countof":      {args: "sss?", ret: Long, prepare: countOf},
		"parse_url":    {args: "s", ret: Dynamic, call: func(a []Value) Value { return parseURL(a[0].s) }},
		"parse_urlquery": {args: "s", ret: Dynamic, call: func(a []Value) Value {
			return bagValue([]string{"Query Parameters"}, []Value{queryBag(strings.TrimPrefix(a[0].s, "?"))})
		}},
		"parse_path": {args: "s", ret: Dynamic, call: func(a []Value) Value { return parsePath(a[0].s) }},
		"url_encode": {args: "s", ret: String, call: func(a []Value) Value { return StringValue(url.QueryEscape(a[0].s)) }},
		"url_decode": {args: "s", ret: String, call: func(a []Value) Value { return StringValue(unescapeURL(a[0].s)) }},
		"url_encode_component": {args: "s", ret: String, call: func(a []Value) Value {
			return StringValue(strings.ReplaceAll(url.QueryEscape(a[0].s), "+", "%20"))
		}},
		"parse_ipv4": {args: "s", ret: Long, call: func(a []Value) Value {
			ip, bits, ok := parseIPv4(a[0].s)
			if !ok {
				return Value{}
			}
			return LongValue(int64(ip &^ (1<<(32-bits) - 1)))
		}},
		"ipv4_is_private": {args: "s", ret: Bool, call: func(a []Value) Value {
			ip, _, ok := parseIPv4(a[0].s)
			if !ok {
				return Value{}
			}
			return BoolValue(ip>>24 == 10 || ip>>20 == 0xAC1 || ip>>16 == 0xC0A8)
		}},
		"ipv4_is_in_range": {args: "ss", ret: Bool, call: func(a []Value) Value {
			ip, _, ok1 := parseIPv4(a[0].s)
			net, bits, ok2 := parseIPv4(a[1].s)
			if !ok1 || !ok2 {
				return Value{}
			}
			return BoolValue(ip>>(32-bits) == net>>(32-bits) || bits == 0)
		}},
		"format_bytes": {args: "ni?s?", ret: String, name: asFirst, call: formatBytes},
	}
}

// withRegex makes a call with the expression in argument i compiled. A pattern
// that is known and wrong is an error at once; a later one makes a null.
func withRegex(i int, f func(re *regexp.Regexp, a []Value) Value) func(b *binder, args []*expr) func(a []Value) Value {
	return func(b *binder, args []*expr) func(a []Value) Value {
		compile, err := compileRegex(args[i])
		if err != nil {
			b.fail(args[i].at, "", "'%s' is not a regular expression: %v", args[i].val.s, err)
			return nil
		}
		return func(a []Value) Value {
			re := compile(a[i].s)
			if re == nil {
				return Value{}
			}
			return f(re, a)
		}
	}
}

// rewrite turns \1 into Go's ${1}.
func rewrite(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '$':
			b.WriteString("$$")
		case s[i] == '\\' && i+1 < len(s) && isDigit(s[i+1]):
			i++
			b.WriteString("${" + s[i:i+1] + "}")
		case s[i] == '\\' && i+1 < len(s) && s[i+1] == '\\':
			i++
			b.WriteByte('\\')
		default:
			b.WriteByte(s[i])
		}
	}
	return b.String()
}

// trimmer removes a match at the start, at the end, or both.
func trimmer(start, end bool) func(b *binder, args []*expr) func(a []Value) Value {
	return func(b *binder, args []*expr) func(a []Value) Value {
		var lastPattern string
		var head, tail *regexp.Regexp
		compile := func(p string) error {
			var err error
			if head, err = regexp.Compile(`\A(?:` + p + `)`); err != nil {
				return err
			}
			tail, err = regexp.Compile(`(?:` + p + `)\z`)
			lastPattern = p
			return err
		}
		if v := args[0].val; v != nil {
			if err := compile(v.s); err != nil {
				b.fail(args[0].at, "", "'%s' is not a regular expression: %v", v.s, err)
				return nil
			}
		}
		return func(a []Value) Value {
			if (head == nil || a[0].s != lastPattern) && compile(a[0].s) != nil {
				head, tail = nil, nil
				return a[1]
			}
			s := a[1].s
			if start {
				if m := head.FindStringIndex(s); m != nil {
					s = s[m[1]:]
				}
			}
			if end {
				if m := tail.FindStringIndex(s); m != nil {
					s = s[:m[0]]
				}
			}
			return StringValue(s)
		}
	}
}

// bindExtract binds extract(regex, group, text, typeof(type)).
func bindExtract(b *binder, e *callExpr, sc *scope, en *env) *expr {
	t := String
	args := e.args
	if len(args) == 4 {
		te, ok := args[3].e.(*typeExpr)
		if !ok {
			return b.fail(args[3].e.pos(), "", "extract(): argument 4 must be typeof(…)")
		}
		t = te.typ
		args = args[:3]
	}
	bound := make([]*expr, len(args))
	for i, a := range args {
		bound[i] = b.expr(a.e, sc, en)
	}
	f := &function{args: "sis", ret: t, prepare: withRegex(0, func(re *regexp.Regexp, a []Value) Value {
		m := re.FindStringSubmatchIndex(a[2].s)
		n := a[1].n
		if m == nil || n < 0 || 2*n+1 >= int64(len(m)) || m[2*n] < 0 {
			return Value{}
		}
		return cast(StringValue(a[2].s[m[2*n]:m[2*n+1]]), t)
	})}
	return b.call(&callExpr{at: e.at, fn: e.fn}, f, bound)
}

// extractAll is extract_all(regex, [groups,] text).
func extractAll(b *binder, args []*expr) func(a []Value) Value {
	if len(args) == 3 {
		if args[1].typ != Dynamic {
			b.fail(args[1].at, "", "extract_all(): argument 2 must be dynamic, not %s", args[1].typ)
			return nil
		}
	} else if args[1].typ != String && args[1].typ != Dynamic {
		b.fail(args[1].at, "", "extract_all(): argument 2 must be string, not %s", args[1].typ)
		return nil
	}
	return withRegex(0, func(re *regexp.Regexp, a []Value) Value {
		text := a[len(a)-1].String()
		var groups []int
		if len(a) == 3 {
			for _, g := range elements(a[1]) {
				n := castLong(g)
				i := int(n.n)
				if g.k == kString {
					i = re.SubexpIndex(g.s)
				}
				if i < 0 || i > re.NumSubexp() {
					return Value{}
				}
				groups = append(groups, i)
			}
		} else {
			for i := 1; i <= re.NumSubexp(); i++ {
				groups = append(groups, i)
			}
		}
		if len(groups) == 0 {
			return Value{}
		}
		var found []Value
		for _, m := range re.FindAllStringSubmatch(text, -1) {
			if len(groups) == 1 {
				found = append(found, StringValue(m[groups[0]]))
				continue
			}
			row := make([]Value, len(groups))
			for i, g := range groups {
				row[i] = StringValue(m[g])
			}
			found = append(found, arrayValue(row))
		}
		if found == nil {
			return Value{}
		}
		return arrayValue(found)
	})(b, args)
}

// countOf is countof(text, what, kind), where kind is normal or regex. Plain
// matches may overlap, as the documentation has it.
func countOf(b *binder, args []*expr) func(a []Value) Value {
	if len(args) == 3 && args[2].val != nil && args[2].val.s == "regex" {
		return withRegex(1, func(re *regexp.Regexp, a []Value) Value {
			return LongValue(int64(len(re.FindAllStringIndex(a[0].s, -1))))
		})(b, args)
	}
	return func(a []Value) Value {
		s, what := a[0].s, a[1].s
		n := int64(0)
		for what != "" {
			i := strings.Index(s, what)
			if i < 0 {
				break
			}
			n++
			s = s[i+1:]
		}
		return LongValue(n)
	}
}

// parseURL is parse_url(): the parts of an absolute URL. What is none has empty
// parts.
func parseURL(s string) Value {
	keys := []string{"Scheme", "Host", "Port", "Path", "Username", "Password", "Query Parameters", "Fragment"}
	items := make([]Value, len(keys))
	for i := range items {
		items[i] = StringValue("")
	}
	items[6] = bagValue(nil, nil)
	u, err := url.Parse(s)
	if err == nil && u.Scheme != "" {
		password, _ := u.User.Password()
		for i, v := range []string{u.Scheme, u.Hostname(), u.Port(), u.EscapedPath(), u.User.Username(), password} {
			items[i] = StringValue(v)
		}
		items[6] = queryBag(u.RawQuery)
		items[7] = StringValue(u.Fragment)
	}
	return bagValue(keys, items)
}

func queryBag(q string) Value {
	var keys []string
	var items []Value
	for _, pair := range strings.Split(q, "&") {
		if pair == "" {
			continue
		}
		k, v, _ := strings.Cut(pair, "=")
		keys = append(keys, unescapeURL(k))
		items = append(items, StringValue(unescapeURL(v)))
	}
	return bagValue(keys, items)
}

func unescapeURL(s string) string {
	if out, err := url.QueryUnescape(s); err == nil {
		return out
	}
	return s
}

// parsePath is parse_path().
func parsePath(s string) Value {
	var scheme, root, alternate string
	path := s
	if i := strings.Index(path, "://"); i >= 0 {
		scheme, path = path[:i], path[i+3:]
	}
	if len(path) > 1 && path[1] == ':' {
		root = path[:2]
	}
	if i := strings.LastIndexByte(path, ':'); i > 1 {
		alternate, path = path[i+1:], path[:i]
	}
	dir, file := "", path
	if i := strings.LastIndexAny(path, `/\`); i >= 0 {
		dir, file = path[:i], path[i+1:]
	}
	name := dir
	if i := strings.LastIndexAny(dir, `/\`); i >= 0 {
		name = dir[i+1:]
	}
	ext := ""
	if i := strings.LastIndexByte(file, '.'); i >= 0 {
		ext = file[i+1:]
	}
	keys := []string{"Scheme", "RootPath", "DirectoryPath", "DirectoryName", "Filename", "Extension", "AlternateDataStreamName"}
	items := make([]Value, len(keys))
	for i, v := range []string{scheme, root, dir, name, file, ext, alternate} {
		items[i] = StringValue(v)
	}
	return bagValue(keys, items)
}

// parseIPv4 reads an address with an optional prefix.
func parseIPv4(s string) (ip uint64, bits uint, ok bool) {
	bits = 32
	if addr, prefix, found := strings.Cut(s, "/"); found {
		n, err := strconv.ParseUint(prefix, 10, 8)
		if err != nil || n > 32 {
			return 0, 0, false
		}
		s, bits = addr, uint(n)
	}
	a, err := netip.ParseAddr(strings.TrimSpace(s))
	if err != nil || !a.Is4() {
		return 0, 0, false
	}
	for _, c := range a.As4() {
		ip = ip<<8 | uint64(c)
	}
	return ip, bits, true
}

// formatBytes is format_bytes(value, precision, units).
func formatBytes(a []Value) Value {
	units := []string{"Bytes", "KB", "MB", "GB", "TB", "PB", "EB"}
	f := a[0].number()
	places := 0
	if len(a) > 1 {
		places = int(max(0, min(a[1].n, 20)))
	}
	unit := 0
	if len(a) > 2 && a[2].s != "" {
		for unit < len(units) && !strings.EqualFold(units[unit], a[2].s) {
			unit++
			f /= 1024
		}
		if unit == len(units) {
			return Value{}
		}
	} else {
		for unit < len(units)-1 && (f >= 1024 || f <= -1024) {
			unit++
			f /= 1024
		}
	}
	return StringValue(strconv.FormatFloat(roundTo(f, places), 'f', -1, 64) + " " + units[unit])
}

// bindNewGUID binds new_guid(): a random GUID, new in every row.
func bindNewGUID(b *binder, e *callExpr, _ *scope, _ *env) *expr {
	if len(e.args) > 0 {
		return b.fail(e.at, "", "function 'new_guid' takes no arguments")
	}
	return &expr{typ: GUID, slot: -1, at: e.at, eval: func([]Value) Value {
		var u [16]byte
		_, _ = rand.Read(u[:]) // it never fails
		u[6], u[8] = u[6]&0x0f|0x40, u[8]&0x3f|0x80
		return Value{k: kGUID, s: fmt.Sprintf("%x-%x-%x-%x-%x", u[:4], u[4:6], u[6:8], u[8:10], u[10:])}
	}}
}
