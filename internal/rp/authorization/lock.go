package authorization

import (
	"context"
	"net/http"
	"regexp"
	"slices"
	"strings"

	"github.com/azimuth-ml/azimuth/internal/arm"
	"github.com/azimuth-ml/azimuth/internal/store"
)

// LockType is the type of management locks.
const LockType = namespace + "/locks"

const lockMemory = "locks"

// The levels of a lock that forbid something.
const (
	canNotDelete = "CanNotDelete"
	readOnly     = "ReadOnly"
	notSpecified = "NotSpecified"
)

// lock is the management lock: nobody, whatever their roles, deletes what is
// locked or what it stands in and, under ReadOnly, nobody changes it either. It
// holds for Resource Manager's operations, not for those of data planes.
// https://learn.microsoft.com/azure/azure-resource-manager/management/lock-resources
func (p *provider) lock() *arm.ResourceType {
	return &arm.ResourceType{
		Type:                LockType,
		Memory:              lockMemory,
		Scope:               arm.OnAnything,
		NoProvisioningState: true,
		SystemData:          true,
		Unguarded:           true, // or none could be removed
		Methods:             []string{http.MethodGet, http.MethodPut, http.MethodDelete},
		Name: arm.NameRule{
			// the SDK's documentation of the parameter lists what a name may not hold
			Pattern: regexp.MustCompile(`^[^<>%&:\\?/[:cntrl:]]{1,260}$`),
			Text:    `A lock's name has up to 260 characters and none of < > % & : \ ? / or control characters.`,
		},
		Index:    func(r *arm.Resource) []string { return []string{scopeIndex(r.ParsedID().Parent().String())} },
		Validate: validateLock,
		List:     p.listLocks,
	}
}

func validateLock(_ context.Context, put *arm.Put) error {
	body := put.Resource.Body
	levels := []string{canNotDelete, readOnly, notSpecified}
	i := slices.IndexFunc(levels, func(l string) bool { return strings.EqualFold(l, body.String("properties.level")) })
	if i < 0 {
		return arm.BadRequest("InvalidLockLevel", "The lock level '%s' is not valid. It is one of %s.",
			body.String("properties.level"), strings.Join(levels, ", "))
	}
	body.Set("properties.level", levels[i])
	if len(body.String("properties.notes")) > 512 {
		return arm.BadRequest("InvalidLockNotes", "The notes of a lock have up to 512 characters.")
	}
	return nil
}

// guardLocked refuses what a lock forbids: locks are inherited from every scope
// above and, as what stands in a resource goes with it, a deletion also meets
// those below.
func (p *provider) guardLocked(tx store.Tx, id arm.ID, what arm.Intent) error {
	var by []string
	add := func(scope string) {
		if !slices.Contains(by, scope) {
			by = append(by, scope)
		}
	}
	res := p.kernel.Resources()
	locked, err := arm.RecallOf(tx, lockMemory, "", func() (bool, error) {
		for _, err := range res.FindFrom(tx, LockType, scopeIndex(""), false) {
			return err == nil, err
		}
		return false, nil
	})
	if err != nil || !locked { // most places have no lock at all
		return err
	}
	for _, scope := range id.Lineage() {
		for r, err := range res.Find(tx, LockType, scopeIndex(scope.String())) {
			if err != nil {
				return err
			}
			if forbids(r, what) {
				add(r.ParsedID().Parent().String())
			}
		}
	}
	if what == arm.IntendDelete {
		for r, err := range res.FindPage(tx, LockType, scopeIndex(id.String())+"/", "") {
			if err != nil {
				return err
			}
			if forbids(r, what) {
				add(r.ParsedID().Parent().String())
			}
		}
	}
	if len(by) == 0 {
		return nil
	}
	return arm.Errorf(http.StatusConflict, "ScopeLocked",
		"The scope '%s' cannot perform %s operation because following scope(s) are locked: '%s'. Please remove the lock and try again.",
		id, what, strings.Join(by, "','"))
}

func forbids(lock *arm.Resource, what arm.Intent) bool {
	switch lock.Body.String("properties.level") {
	case readOnly:
		return true
	case canNotDelete:
		return what == arm.IntendDelete
	}
	return false
}

// listLocks lists the locks at a scope and below it; with atScope(), those at it
// alone. That a list leaves out what is inherited is how the operations are
// documented; what Azure does with atScope() is not.
func (p *provider) listLocks(ctx context.Context, req *arm.Request, scope arm.ID) (*arm.Page, error) {
	t, err := parseTerms(req.Query.Get("$filter"), "atscope()")
	if err != nil {
		return nil, err
	}
	size, after, err := req.Paging()
	if err != nil {
		return nil, err
	}
	page := &arm.Page{}
	err = p.kernel.Store().View(ctx, func(tx store.Tx) error {
		if _, err := p.scopeExists(ctx, tx, scope); err != nil {
			return err
		}
		entry := func(at arm.ID) string { return scopeIndex(at.String()) }
		ranges := []string{store.Exact(entry(scope)), entry(scope) + "/"}
		if t.has("atscope()") {
			ranges = ranges[:1]
		}
		var last *arm.Resource
		for _, prefix := range ranges {
			for r, err := range p.kernel.Resources().FindPage(tx, LockType, prefix, after) {
				if err != nil {
					return err
				}
				if len(page.Value) == size {
					page.Next = arm.EncodeToken(p.kernel.Resources().FindPosition(last, LockType, entry(last.ParsedID().Parent())))
					return nil
				}
				doc, err := p.kernel.Render(ctx, tx, r)
				if err != nil {
					return err
				}
				page.Value, last = append(page.Value, doc), r
			}
		}
		return nil
	})
	return page, err
}
