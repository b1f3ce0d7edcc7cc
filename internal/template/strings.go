package template

import (
	"encoding/base64"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"unicode/utf8"
)

func stringFunctions() map[string]builtin {
	return map[string]builtin{
		"base64":         on(1, 1, func(a []string) (any, error) { return base64.StdEncoding.EncodeToString([]byte(a[0])), nil }),
		"base64tostring": on(1, 1, func(a []string) (any, error) { return unbase64(a[0]) }),
		"base64tojson": on(1, 1, func(a []string) (any, error) {
			s, err := unbase64(a[0])
			if err != nil {
				return nil, err
			}
			return parseJSON(s)
		}),
		"datauri": on(1, 1, func(a []string) (any, error) {
			return "data:text/plain;charset=utf8;base64," + base64.StdEncoding.EncodeToString([]byte(a[0])), nil
		}),
		"datauritostring": on(1, 1, func(a []string) (any, error) {
			head, data, ok := strings.Cut(a[0], ",")
			if !ok || !strings.HasPrefix(head, "data:") {
				return nil, wrong("expects a data URI")
			}
			if strings.HasSuffix(head, ";base64") {
				return unbase64(data)
			}
			s, err := url.PathUnescape(data)
			if err != nil {
				return nil, wrong("expects a data URI: %v", err)
			}
			return s, nil
		}),
		"startswith": on(2, 2, func(a []string) (any, error) {
			return strings.HasPrefix(strings.ToLower(a[0]), strings.ToLower(a[1])), nil
		}),
		"endswith": on(2, 2, func(a []string) (any, error) {
			return strings.HasSuffix(strings.ToLower(a[0]), strings.ToLower(a[1])), nil
		}),
		"tolower":              on(1, 1, func(a []string) (any, error) { return strings.ToLower(a[0]), nil }),
		"toupper":              on(1, 1, func(a []string) (any, error) { return strings.ToUpper(a[0]), nil }),
		"trim":                 on(1, 1, func(a []string) (any, error) { return strings.TrimSpace(a[0]), nil }),
		"replace":              {3, 3, replaceFunction},
		"uniquestring":         on(1, -1, func(a []string) (any, error) { return uniqueString(a), nil }),
		"guid":                 on(1, -1, func(a []string) (any, error) { return guidOf(a), nil }),
		"newguid":              {0, 0, newGUIDFunction},
		"uri":                  on(2, 2, uriFunction),
		"uricomponent":         on(1, 1, func(a []string) (any, error) { return escapeComponent(a[0]), nil }),
		"uricomponenttostring": on(1, 1, unescapeComponent),
		"string":               {1, 1, func(_ *scope, _ string, args []any) (any, error) { return show(args[0]), nil }},
		"json":                 on(1, 1, func(a []string) (any, error) { return parseJSON(a[0]) }),
		"padleft":              {2, 3, padLeft},
		"split":                {2, 2, splitFunction},
		"substring":            {2, 3, substring},
		"format":               {1, -1, formatFunction},
	}
}

// maxString bounds the strings that functions make.
const maxString = 4 << 20

func unbase64(s string) (string, error) {
	b, err := base64.StdEncoding.DecodeString(s)
	if err != nil || !utf8.Valid(b) {
		return "", wrong("expects text in base64")
	}
	return string(b), nil
}

func parseJSON(s string) (any, error) {
	v, err := Decode([]byte(s))
	if err != nil {
		return nil, wrong("expects JSON: %v", err)
	}
	return v, nil
}

func replaceFunction(s *scope, _ string, args []any) (any, error) {
	a, err := stringsFrom(args, 0)
	if err != nil {
		return nil, err
	}
	if a[1] == "" {
		return nil, wrong("expects argument 2 not to be empty")
	}
	if n := strings.Count(a[0], a[1]); len(a[0])+n*len(a[2]) > maxString {
		return nil, errTooMuch
	}
	if err := s.step(len(a[0]) / 16); err != nil {
		return nil, err
	}
	return strings.ReplaceAll(a[0], a[1], a[2]), nil
}

func newGUIDFunction(s *scope, name string, _ []any) (any, error) {
	if !s.defaults {
		return nil, invalid("The template function '%s' is not expected at this location. The function can only be used in the default value of a parameter.", name)
	}
	return s.env.NewGUID(), nil
}

// uriFunction joins an absolute URI and a relative one, as RFC 3986 says.
func uriFunction(a []string) (any, error) {
	base, err := url.Parse(a[0])
	if err != nil || !base.IsAbs() {
		return nil, wrong("expects argument 1 to be an absolute URI. It is '%s'", a[0])
	}
	rel, err := url.Parse(a[1])
	if err != nil {
		return nil, wrong("expects argument 2 to be a URI. It is '%s'", a[1])
	}
	return base.ResolveReference(rel).String(), nil
}

// escapeComponent leaves letters, digits and -._~ as they are.
func escapeComponent(s string) string {
	var b strings.Builder
	for i := range len(s) {
		c := s[i]
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("-._~", c) >= 0 {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}

func unescapeComponent(a []string) (any, error) {
	s, err := url.PathUnescape(a[0])
	if err != nil {
		return nil, wrong("expects an encoded URI component: %v", err)
	}
	return s, nil
}

func padLeft(_ *scope, _ string, args []any) (any, error) {
	var text string
	switch v := args[0].(type) {
	case string:
		text = v
	case int64:
		text = strconv.FormatInt(v, 10)
	default:
		return nil, wrong("expects argument 1 to be a string or an integer. It is of type '%s'", kind(v))
	}
	n, err := intAt(args, 1)
	if err != nil {
		return nil, err
	}
	if n < 0 || n > 1000 {
		return nil, wrong("expects argument 2 to be from 0 to 1000")
	}
	pad := " "
	if len(args) > 2 {
		if pad, err = stringAt(args, 2); err != nil {
			return nil, err
		}
		if utf8.RuneCountInString(pad) != 1 {
			return nil, wrong("expects argument 3 to be one character")
		}
	}
	return strings.Repeat(pad, max(0, int(n)-utf8.RuneCountInString(text))) + text, nil
}

func splitFunction(_ *scope, _ string, args []any) (any, error) {
	text, err := stringAt(args, 0)
	if err != nil {
		return nil, err
	}
	var by []string
	switch d := args[1].(type) {
	case string:
		by = []string{d}
	case []any:
		if by, err = stringsFrom(d, 0); err != nil {
			return nil, err
		}
	default:
		return nil, wrong("expects argument 2 to be a string or an array. It is of type '%s'", kind(d))
	}
	parts := []string{text}
	for _, d := range by {
		if d == "" {
			continue
		}
		var next []string
		for _, p := range parts {
			next = append(next, strings.Split(p, d)...)
		}
		parts = next
	}
	return anys(parts), nil
}

func anys(list []string) []any {
	out := make([]any, len(list))
	for i, s := range list {
		out[i] = s
	}
	return out
}

func substring(_ *scope, _ string, args []any) (any, error) {
	text, err := stringAt(args, 0)
	if err != nil {
		return nil, err
	}
	start, err := intAt(args, 1)
	if err != nil {
		return nil, err
	}
	runes := []rune(text)
	n := int64(len(runes)) - start
	if len(args) > 2 {
		if n, err = intAt(args, 2); err != nil {
			return nil, err
		}
	}
	if start < 0 || n < 0 || start > int64(len(runes)) || n > int64(len(runes))-start {
		return nil, wrong("parameters: index and length must refer to a location within the string")
	}
	return string(runes[start : start+n]), nil
}

// formatFunction is .NET's composite formatting as far as templates use it:
// {0}, {0,10} and, for integers, {0:D3}, {0:X4}, {0:N0} and {0:000}.
func formatFunction(_ *scope, _ string, args []any) (any, error) {
	text, err := stringAt(args, 0)
	if err != nil {
		return nil, err
	}
	args = args[1:]
	var b strings.Builder
	for i := 0; i < len(text); i++ {
		c := text[i]
		if (c == '{' || c == '}') && i+1 < len(text) && text[i+1] == c {
			b.WriteByte(c)
			i++
			continue
		}
		if c == '}' {
			return nil, wrong("expects argument 1 to be a format. It has a brace that is not opened")
		}
		if c != '{' {
			b.WriteByte(c)
			continue
		}
		end := strings.IndexByte(text[i:], '}')
		if end < 0 {
			return nil, wrong("expects argument 1 to be a format. It has a brace that is not closed")
		}
		s, err := formatItem(text[i+1:i+end], args)
		if err != nil {
			return nil, err
		}
		if b.Len()+len(s) > maxString {
			return nil, errTooMuch
		}
		b.WriteString(s)
		i += end
	}
	return b.String(), nil
}

func formatItem(item string, args []any) (string, error) {
	item, how, _ := strings.Cut(item, ":")
	item, align, aligned := strings.Cut(item, ",")
	n, err := strconv.Atoi(strings.TrimSpace(item))
	if err != nil || n < 0 || n >= len(args) {
		return "", wrong("expects argument 1 to be a format. It refers to argument '%s', which is not there", item)
	}
	s := show(args[n])
	if how != "" {
		if s, err = formatNumber(args[n], how); err != nil {
			return "", err
		}
	}
	if aligned {
		width, err := strconv.Atoi(strings.TrimSpace(align))
		if err != nil || width > 1000 || width < -1000 {
			return "", wrong("expects argument 1 to be a format. Its alignment is '%s'", align)
		}
		s = fmt.Sprintf("%*s", width, s)
	}
	return s, nil
}

func formatNumber(v any, how string) (string, error) {
	n, ok := v.(int64)
	digits, err := strconv.Atoi(how[1:])
	if how[1:] == "" {
		digits, err = 0, nil
	}
	if ok && strings.Trim(how, "0") == "" {
		return fmt.Sprintf("%0*d", len(how), n), nil
	}
	if ok && err == nil && digits <= 99 {
		switch how[0] {
		case 'D', 'd':
			if n < 0 {
				digits++ // the sign is no digit
			}
			return fmt.Sprintf("%0*d", digits, n), nil
		case 'X':
			return fmt.Sprintf("%0*X", digits, n), nil
		case 'x':
			return fmt.Sprintf("%0*x", digits, n), nil
		case 'N', 'n':
			if how[1:] == "" {
				digits = 2
			}
			return grouped(n) + decimals(digits), nil
		case 'F', 'f':
			if how[1:] == "" {
				digits = 2
			}
			return strconv.FormatInt(n, 10) + decimals(digits), nil
		}
	}
	return "", wrong("was asked for the format '%s', which Azimuth does not know for a value of type '%s'", how, kind(v))
}

func decimals(n int) string {
	if n == 0 {
		return ""
	}
	return "." + strings.Repeat("0", n)
}

func grouped(n int64) string {
	s, sign := strconv.FormatInt(n, 10), ""
	if n < 0 {
		s, sign = s[1:], "-"
	}
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return sign + s
}
