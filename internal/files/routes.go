package files

import (
	"strings"

	"github.com/azimuth-ml/azimuth/internal/route"
	"github.com/azimuth-ml/azimuth/internal/storage"
)

// Routes is what the hosts ACCOUNT.file.core.windows.net can be asked.
func Routes() []route.Route {
	const box, dir = route.Container, "/dir"
	all := storage.RoutesOf(rows(), map[string]string{
		onService: "/", onShare: "/" + box, onDirectory: "/" + box + dir, onFile: "/" + box + "/" + route.Item,
	})
	for i := range all {
		r := &all[i]
		if rest, ok := strings.CutPrefix(r.Target, "/"+box+dir); ok {
			r.Target = "/" + box + dir + "?restype=directory"
			if rest != "" {
				r.Target += "&" + rest[1:]
			}
		}
		if r.Header == nil {
			r.Header = map[string]string{}
		}
		r.Header["x-ms-file-request-intent"] = "backup" // with a token
	}
	return all
}
