package sqlite

import (
	"context"
	"database/sql"
	"fmt"
)

// migrations are run in order, once each; PRAGMA user_version counts them.
// Append only.
func migrations() []string {
	return []string{
		`CREATE TABLE entry (
			bucket TEXT NOT NULL,
			key    TEXT NOT NULL,
			value  BLOB NOT NULL,
			PRIMARY KEY (bucket, key)
		) WITHOUT ROWID, STRICT`,
		// Comparing a key reads the whole row that it is of, so that long values,
		// which flow over into further pages, slow down every look-up near them.
		// They have a table of their own, and grow at its end.
		`CREATE TABLE large (
			id    INTEGER PRIMARY KEY,
			value BLOB NOT NULL
		) STRICT;
		ALTER TABLE entry ADD COLUMN large INTEGER;
		CREATE TRIGGER large_replaced AFTER UPDATE ON entry WHEN old.large IS NOT NULL BEGIN
			DELETE FROM large WHERE id = old.large;
		END;
		CREATE TRIGGER large_deleted AFTER DELETE ON entry WHEN old.large IS NOT NULL BEGIN
			DELETE FROM large WHERE id = old.large;
		END`,
	}
}

func migrate(ctx context.Context, db *sql.DB) error {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	var have int
	if err := tx.QueryRowContext(ctx, "PRAGMA user_version").Scan(&have); err != nil {
		return err
	}
	steps := migrations()
	if have == len(steps) {
		return nil
	}
	if have > len(steps) {
		return fmt.Errorf("the database has schema version %d and this azimuth knows %d: use a newer azimuth, or another --home", have, len(steps))
	}
	for i, step := range steps[have:] {
		if _, err := tx.ExecContext(ctx, step); err != nil {
			return fmt.Errorf("migration %d: %w", have+i+1, err)
		}
	}
	if _, err := tx.ExecContext(ctx, fmt.Sprintf("PRAGMA user_version = %d", len(steps))); err != nil {
		return err
	}
	return tx.Commit()
}
