package table

import (
	"strings"

	"github.com/azimuth-ml/azimuth/internal/route"
	"github.com/azimuth-ml/azimuth/internal/storage"
)

// Routes is what the hosts ACCOUNT.table.core.windows.net can be asked.
func Routes() []route.Route {
	const box = route.Container
	all := storage.RoutesOf(rows(), map[string]string{
		onService: "/", onTables: "/Tables", onTableItem: "/Tables('" + box + "')", onTable: "/" + box + "()",
		onEntity: "/" + box + "(PartitionKey='a',RowKey='b')", onBatch: "/$batch",
	})
	for i := range all {
		if all[i].Target == "/$batch" {
			all[i].Header = map[string]string{"Content-Type": "multipart/mixed; boundary=b"}
			all[i].Body = strings.ReplaceAll(`--b
Content-Type: multipart/mixed; boundary=c

--c
Content-Type: application/http
Content-Transfer-Encoding: binary

POST https://account.table.core.windows.net/`+box+` HTTP/1.1
Content-Type: application/json
Accept: application/json

{"PartitionKey":"a","RowKey":"b"}
--c--
--b--
`, "\n", "\r\n")
		}
	}
	return all
}
