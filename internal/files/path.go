package files

import (
	"net/http"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/azimuth-ml/azimuth/internal/storage"
)

// checkShareName holds a share's name to Microsoft's "Naming and Referencing
// Shares, Directories, Files, and Metadata".
func checkShareName(name string) error {
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

// The limits of paths, in UTF-16 units and levels.
const (
	maxPath  = 2048
	maxName  = 255
	maxDepth = 250
)

// cleanPath checks a path in a share and returns it without what Azure leaves
// out: empty names and, unless the client keeps them, dots at the end of names.
func cleanPath(path string, keepDots bool) (string, error) {
	if path == "" {
		return "", nil
	}
	bad := storage.Refuse("InvalidFileOrDirectoryPathName")
	if !utf8.ValidString(path) || len(utf16.Encode([]rune(path))) > maxPath {
		return "", bad
	}
	var out []string
	for name := range strings.SplitSeq(path, "/") {
		if name == "" {
			continue
		}
		if !keepDots {
			name = strings.TrimRight(name, ".")
		}
		if !validName(name) {
			return "", bad
		}
		out = append(out, name)
	}
	if len(out) > maxDepth {
		return "", bad
	}
	return strings.Join(out, "/"), nil
}

// validName holds the name of a file or directory to the same rules. The names of
// devices are refused in any case.
func validName(name string) bool {
	if name == "" || name == "." || name == ".." || len(utf16.Encode([]rune(name))) > maxName || len(name) > maxName {
		return false
	}
	for _, r := range name {
		if r < 0x20 || r == 0x7f || strings.ContainsRune(`"\/:|<>*?`, r) {
			return false
		}
	}
	upper := strings.ToUpper(name)
	switch upper {
	case "PRN", "AUX", "NUL", "CON", "CLOCK$":
		return false
	}
	if len(upper) == 4 && (strings.HasPrefix(upper, "LPT") || strings.HasPrefix(upper, "COM")) && upper[3] >= '1' && upper[3] <= '9' {
		return false
	}
	return true
}

// splitLast takes the last name off a path.
func splitLast(path string) (dir, name string) {
	i := strings.LastIndexByte(path, '/')
	if i < 0 {
		return "", path
	}
	return path[:i], path[i+1:]
}

// inDir is the path of a name in a directory.
func inDir(dir, name string) string {
	if dir == "" {
		return name
	}
	return dir + "/" + name
}
