package queue

import (
	"github.com/azimuth-ml/azimuth/internal/route"
	"github.com/azimuth-ml/azimuth/internal/storage"
)

// Routes is what the hosts ACCOUNT.queue.core.windows.net can be asked.
func Routes() []route.Route {
	const box = route.Container
	return storage.RoutesOf(rows(), map[string]string{
		onService: "/", onQueue: "/" + box, onMessages: "/" + box + "/messages", onMessage: "/" + box + "/messages/" + route.Item,
	})
}
