package sqlite

import "fmt"

// LimitPages makes the database full once it has n pages, as a full disk would.
func LimitPages(s *Store, n int) error {
	_, err := s.write.Exec(fmt.Sprintf("PRAGMA max_page_count = %d", n))
	return err
}
