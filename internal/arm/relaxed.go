package arm

import "strings"

// relaxed turns the JSON that Azure Resource Manager's parser also takes into
// JSON: comments, names without quotes, strings in single quotes or over several
// lines, and commas at the end of lists. The Azure CLI sends templates with such, and
// an unquoted name of its own. What is wrong otherwise stays wrong.
func relaxed(b []byte) []byte {
	s := string(b)
	var out strings.Builder
	out.Grow(len(s))
	for i := 0; i < len(s); {
		c := s[i]
		switch {
		case c == '"' || c == '\'':
			i = relaxedString(s, i, &out)
		case strings.HasPrefix(s[i:], "//"):
			if n := strings.IndexByte(s[i:], '\n'); n >= 0 {
				i += n
			} else {
				i = len(s)
			}
		case strings.HasPrefix(s[i:], "/*"):
			if n := strings.Index(s[i+2:], "*/"); n >= 0 {
				i += n + 4
			} else {
				i = len(s)
			}
			out.WriteByte(' ')
		case c == ',':
			if next := afterSpace(s, i+1); next < len(s) && (s[next] == '}' || s[next] == ']') {
				i++
				continue
			}
			out.WriteByte(c)
			i++
		case nameByte(c) && (c < '0' || c > '9'):
			end := i
			for end < len(s) && nameByte(s[end]) {
				end++
			}
			word := s[i:end]
			if next := afterSpace(s, end); next < len(s) && s[next] == ':' {
				word = `"` + word + `"`
			}
			out.WriteString(word)
			i = end
		case nameByte(c): // a number
			for i < len(s) && (nameByte(s[i]) || strings.IndexByte(".+-", s[i]) >= 0) {
				out.WriteByte(s[i])
				i++
			}
		default:
			out.WriteByte(c)
			i++
		}
	}
	return []byte(out.String())
}

func nameByte(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_' || c == '$'
}

// afterSpace is the first place from i on that is neither space nor comment.
func afterSpace(s string, i int) int {
	for i < len(s) {
		switch {
		case strings.IndexByte(" \t\r\n", s[i]) >= 0:
			i++
		case strings.HasPrefix(s[i:], "//"):
			n := strings.IndexByte(s[i:], '\n')
			if n < 0 {
				return len(s)
			}
			i += n
		case strings.HasPrefix(s[i:], "/*"):
			n := strings.Index(s[i+2:], "*/")
			if n < 0 {
				return len(s)
			}
			i += n + 4
		default:
			return i
		}
	}
	return i
}

// relaxedString writes the string that begins at i in double quotes, and returns
// what follows it.
func relaxedString(s string, i int, out *strings.Builder) int {
	quote := s[i]
	out.WriteByte('"')
	for i++; i < len(s); i++ {
		switch c := s[i]; {
		case c == quote:
			out.WriteByte('"')
			return i + 1
		case c == '\\' && i+1 < len(s):
			i++
			if s[i] == '\'' {
				out.WriteByte('\'')
				continue
			}
			out.WriteByte(c)
			out.WriteByte(s[i])
		case c == '"':
			out.WriteString(`\"`)
		case c == '\n':
			out.WriteString(`\n`)
		case c == '\r':
			out.WriteString(`\r`)
		case c == '\t':
			out.WriteString(`\t`)
		default:
			out.WriteByte(c)
		}
	}
	return i
}
