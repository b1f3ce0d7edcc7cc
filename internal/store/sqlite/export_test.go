package sqlite

import (
	"database/sql/driver"
	"fmt"
)

// LimitPages makes the database full once it has n pages, as a full disk would.
func LimitPages(s *Store, n int) error {
	return s.write.query(fmt.Sprintf("PRAGMA max_page_count = %d", n), 1, func([]driver.Value) error { return nil })
}
