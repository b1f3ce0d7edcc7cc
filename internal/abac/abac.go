// Package abac reads the conditions of role assignments and decides them:
// attribute-based access control, in version 2.0 of its language. Which
// attributes a request has is for the services to say; see Facts.
//
// The language is that of "Azure role assignment condition format and syntax"
// (learn.microsoft.com/azure/role-based-access-control/conditions-format). Where
// that is silent, the choice made here is named where it is made.
package abac

import (
	"context"
	"fmt"
	"strings"

	"github.com/azimuth-ml/azimuth/internal/store"
)

// Version is the version of the language, as conditionVersion has it.
const Version = "2.0"

// MaxLength is how long a condition may be, in bytes.
const MaxLength = 8 << 10

// maxDepth is how deep expressions may stand in each other. Azure publishes no
// limit: this one keeps hostile conditions from the stack.
const maxDepth = 64

// Source says where an attribute comes from.
type Source string

// The sources of attributes.
const (
	FromRequest     Source = "Request"
	FromResource    Source = "Resource"
	FromPrincipal   Source = "Principal"
	FromEnvironment Source = "Environment"
)

// Attribute is the name of something that a condition asks about.
type Attribute struct {
	Source Source
	// Name is what stands in the brackets, in lower case and without a key.
	Name string
	// Key is the key of a tag, as it is written; "" for all other attributes.
	Key string
}

// String is the attribute as conditions write it.
func (a Attribute) String() string {
	if a.Key != "" {
		return fmt.Sprintf("@%s[%s:%s%s]", a.Source, a.Name, a.Key, keyMark)
	}
	return fmt.Sprintf("@%s[%s]", a.Source, a.Name)
}

// Facts is what is known of a request besides its action and scope.
type Facts struct {
	// SubOperations are the suboperations that the request is, such as "Blob.List".
	SubOperations []string
	// Attribute returns the values of an attribute, as text: booleans are "true"
	// and "false", times as the request or Azure writes them. None means that the
	// request has no such attribute. The transaction is that of the decision, or nil
	// where there is no store. A nil function is a request without any.
	Attribute func(store.Tx, Attribute) ([]string, error)
}

type factsKey struct{}

// With returns a context of a request of which facts are known.
func With(ctx context.Context, f *Facts) context.Context {
	return context.WithValue(ctx, factsKey{}, f)
}

// From returns the facts that With put into ctx; nil when there are none.
func From(ctx context.Context) *Facts {
	f, _ := ctx.Value(factsKey{}).(*Facts)
	return f
}

// Condition is a condition that was read. It is safe for concurrent use.
type Condition struct {
	root       expression
	attributes []Attribute
}

// Attributes are the attributes that the condition asks about, in its order.
func (c *Condition) Attributes() []Attribute { return c.attributes }

// Holds reports whether a request meets the condition. An attribute that the
// request does not have makes a comparison false, whatever its operator: Azure
// says of such a request that it "can't evaluate" the condition and fails.
func (c *Condition) Holds(tx store.Tx, action string, f *Facts) (bool, error) {
	if f == nil {
		f = &Facts{}
	}
	return c.root.holds(&request{tx: tx, action: strings.ToLower(action), facts: f})
}

// request is what a condition is decided about.
type request struct {
	tx     store.Tx
	action string // lower case
	facts  *Facts
}

func (r *request) values(a Attribute) ([]string, error) {
	if r.facts.Attribute == nil {
		return nil, nil
	}
	return r.facts.Attribute(r.tx, a)
}

// SyntaxError says why a text is no condition.
type SyntaxError struct {
	// Offset is where, in bytes.
	Offset int
	Reason string
}

// Error implements error.
func (e *SyntaxError) Error() string { return fmt.Sprintf("at character %d: %s", e.Offset+1, e.Reason) }
