package diagnostic

import "context"

// Note is what a service tells of a request while it serves it.
type Note struct {
	// Operation is the operation, in Microsoft's words.
	Operation string
	// ObjectID and AppID are those of who asked with a token.
	ObjectID, AppID string
	// Code and Message say why it was refused.
	Code, Message string
}

type noteKey struct{}

// With asks the services that see ctx for a note.
func With(ctx context.Context, n *Note) context.Context { return context.WithValue(ctx, noteKey{}, n) }

// NoteOf is the note that was asked for, or nil.
func NoteOf(ctx context.Context) *Note {
	n, _ := ctx.Value(noteKey{}).(*Note)
	return n
}
