package blob

import (
	"slices"
	"strconv"
	"strings"
)

// superuser owns what nobody in particular made: with account keys and SAS.
const superuser = "$superuser"

// maxACL is the most entries of an access or default ACL, as Microsoft's
// "Access control lists (ACLs) in Azure Data Lake Storage" has it.
const maxACL = 32

// perm is a set of POSIX permissions.
type perm byte

const (
	permX perm = 1 << iota
	permW
	permR
)

func (p perm) String() string {
	b := []byte("---")
	for i, c := range "rwx" {
		if p&(permR>>i) != 0 {
			b[i] = byte(c)
		}
	}
	return string(b)
}

func parsePerm(s string) (perm, bool) {
	if len(s) != 3 {
		return 0, false
	}
	var p perm
	for i, c := range "rwx" {
		switch s[i] {
		case byte(c):
			p |= permR >> i
		case '-':
		default:
			return 0, false
		}
	}
	return p, true
}

// The kinds of entries of an ACL, in the order in which an ACL lists them.
const (
	aceUser  = "user"
	aceGroup = "group"
	aceMask  = "mask"
	aceOther = "other"
)

var aceOrder = [...]string{aceUser, aceGroup, aceMask, aceOther}

// ace is one entry of an ACL.
type ace struct {
	Default bool
	Kind    string
	ID      string // of a named user or group
	Perm    perm
}

func (e ace) String() string {
	s := e.Kind + ":" + e.ID + ":" + e.Perm.String()
	if e.Default {
		s = "default:" + s
	}
	return s
}

// acl is a whole access control list, in canonical order.
type acl []ace

// String writes the list as x-ms-acl has it.
func (a acl) String() string {
	parts := make([]string, len(a))
	for i, e := range a {
		parts[i] = e.String()
	}
	return strings.Join(parts, ",")
}

func badACL(reason string) error {
	return refuse("InvalidInput").With("Reason", reason)
}

// parseACE reads an entry. Without permissions, as a removal names entries, it
// is [default:]kind[:id].
func parseACE(s string, withPerm bool) (ace, error) {
	var e ace
	rest, isDefault := strings.CutPrefix(s, "default:")
	e.Default = isDefault
	parts := strings.Split(rest, ":")
	want := 3
	if !withPerm {
		want = 2
		if len(parts) == 1 {
			parts = append(parts, "")
		}
		if len(parts) == 3 && parts[2] == "" { // a trailing colon is allowed
			parts = parts[:2]
		}
	}
	if len(parts) != want {
		return e, badACL("The access control entry '" + s + "' does not have the form [scope:]type:[id]:permissions.")
	}
	e.Kind, e.ID = parts[0], parts[1]
	if !slices.Contains(aceOrder[:], e.Kind) {
		return e, badACL("The access control entry '" + s + "' has an unknown type.")
	}
	if e.ID != "" && (e.Kind == aceMask || e.Kind == aceOther) {
		return e, badACL("The access control entry '" + s + "' cannot name anyone.")
	}
	if len(e.ID) > 256 || strings.ContainsFunc(e.ID, func(r rune) bool { return r <= ' ' || r >= 0x7f }) {
		return e, badACL("The access control entry '" + s + "' names nobody that can be.")
	}
	if withPerm {
		var ok bool
		if e.Perm, ok = parsePerm(parts[2]); !ok {
			return e, badACL("The access control entry '" + s + "' has invalid permissions.")
		}
	}
	return e, nil
}

// parseEntries reads a list of entries, of which none may be there twice.
func parseEntries(s string, withPerm bool) (acl, error) {
	if s == "" {
		return nil, badACL("The access control list is empty.")
	}
	var a acl
	for part := range strings.SplitSeq(s, ",") {
		e, err := parseACE(strings.TrimSpace(part), withPerm)
		if err != nil {
			return nil, err
		}
		if a.find(e.Default, e.Kind, e.ID) != nil {
			return nil, badACL("The access control entry '" + part + "' is there twice.")
		}
		if a = append(a, e); len(a) > 2*maxACL {
			return nil, badACL("The access control list is too long.")
		}
	}
	return a, nil
}

// parseACL reads a whole list as x-ms-acl has it, and completes it: a missing
// mask is the union of what it would limit, and missing base entries of a default
// ACL are those of the access ACL, as POSIX tools do it.
func parseACL(s string, isDir bool) (acl, error) {
	a, err := parseEntries(s, true)
	if err != nil {
		return nil, err
	}
	return a.complete(isDir)
}

func (a acl) complete(isDir bool) (acl, error) {
	for _, kind := range []string{aceUser, aceGroup, aceOther} {
		if a.find(false, kind, "") == nil {
			return nil, badACL("The access control list has no entry for " + kind + "::, which is required.")
		}
	}
	hasDefault := slices.ContainsFunc(a, func(e ace) bool { return e.Default })
	if hasDefault && !isDir {
		return nil, badACL("A file has no default access control list.")
	}
	a = slices.Clone(a)
	for _, isDefault := range []bool{false, true} {
		if isDefault && !hasDefault {
			break
		}
		for _, kind := range []string{aceUser, aceGroup, aceOther} {
			if a.find(isDefault, kind, "") == nil {
				a = append(a, ace{isDefault, kind, "", a.find(false, kind, "").Perm})
			}
		}
		if a.find(isDefault, aceMask, "") == nil && a.named(isDefault) {
			a = append(a, ace{isDefault, aceMask, "", a.union(isDefault)})
		}
		if a.count(isDefault) > maxACL {
			return nil, badACL("The access control list has more than 32 entries.")
		}
	}
	a.sort()
	return a, nil
}

func (a acl) sort() {
	slices.SortFunc(a, func(x, y ace) int {
		if x.Default != y.Default {
			if y.Default {
				return -1
			}
			return 1
		}
		if x.Kind != y.Kind {
			return slices.Index(aceOrder[:], x.Kind) - slices.Index(aceOrder[:], y.Kind)
		}
		return strings.Compare(x.ID, y.ID)
	})
}

func (a acl) find(isDefault bool, kind, id string) *ace {
	for i := range a {
		if e := &a[i]; e.Default == isDefault && e.Kind == kind && e.ID == id {
			return e
		}
	}
	return nil
}

func (a acl) perm(kind string) perm {
	if e := a.find(false, kind, ""); e != nil {
		return e.Perm
	}
	return 0
}

// named reports whether the list names anyone.
func (a acl) named(isDefault bool) bool {
	return slices.ContainsFunc(a, func(e ace) bool { return e.Default == isDefault && e.ID != "" })
}

func (a acl) count(isDefault bool) (n int) {
	for _, e := range a {
		if e.Default == isDefault {
			n++
		}
	}
	return n
}

// union is what everyone whom the mask limits may do together.
func (a acl) union(isDefault bool) (p perm) {
	for _, e := range a {
		if e.Default == isDefault && (e.ID != "" || e.Kind == aceGroup) {
			p |= e.Perm
		}
	}
	return p
}

// mask limits named users, groups and, in Data Lake Storage, others.
func (a acl) mask() perm {
	if e := a.find(false, aceMask, ""); e != nil {
		return e.Perm
	}
	return permR | permW | permX
}

// modeACL is the list that a mode alone makes.
func modeACL(mode uint16) acl {
	return acl{
		{false, aceUser, "", perm(mode >> 6 & 7)},
		{false, aceGroup, "", perm(mode >> 3 & 7)},
		{false, aceOther, "", perm(mode & 7)},
	}
}

// withMode changes the list as chmod does: the middle permissions are the mask's
// when there is one.
func (a acl) withMode(mode uint16) acl {
	a = slices.Clone(a)
	middle := aceGroup
	if a.find(false, aceMask, "") != nil {
		middle = aceMask
	}
	for kind, p := range map[string]perm{aceUser: perm(mode >> 6 & 7), middle: perm(mode >> 3 & 7), aceOther: perm(mode & 7)} {
		if e := a.find(false, kind, ""); e != nil {
			e.Perm = p
		}
	}
	return a
}

// parseMode reads permissions in symbolic or four-digit octal form.
func parseMode(s string) (mode uint16, sticky, ok bool) {
	if len(s) == 4 {
		n, err := strconv.ParseUint(s, 8, 16)
		if err != nil || n > 0o1777 {
			return 0, false, false
		}
		return uint16(n & 0o777), n&0o1000 != 0, true
	}
	if len(s) != 9 {
		return 0, false, false
	}
	b := []byte(s)
	switch b[8] {
	case 't':
		sticky, b[8] = true, 'x'
	case 'T':
		sticky, b[8] = true, '-'
	}
	for i := 0; i < 9; i += 3 {
		p, ok := parsePerm(string(b[i : i+3]))
		if !ok {
			return 0, false, false
		}
		mode = mode<<3 | uint16(p)
	}
	return mode, sticky, true
}

// parseUmask reads a umask, four octal digits.
func parseUmask(s string) (uint16, bool) {
	if len(s) != 4 {
		return 0, false
	}
	n, err := strconv.ParseUint(s, 8, 16)
	return uint16(n), err == nil && n <= 0o777
}

// posix is who owns a path and what the others may do with it.
type posix struct {
	Owner  string `json:"u,omitempty"` // "" is the superuser
	Group  string `json:"g,omitempty"` // "" is the superuser
	ACL    string `json:"a"`
	Sticky bool   `json:"t,omitempty"`
}

// The modes of paths that were made without saying more.
const (
	defaultUmask = 0o027
	fileMode     = 0o666
	dirMode      = 0o777
)

// rights is posix ready for use.
type rights struct {
	owner, group string
	acl          acl
	sticky       bool
	isDir        bool
}

// rights completes what a row says; nil means the defaults of Data Lake Storage,
// rwxr-x--- for directories and rw-r----- for files.
func (p *posix) rights(isDir bool) (rights, error) {
	mode := uint16(fileMode)
	if isDir {
		mode = dirMode
	}
	r := rights{owner: superuser, group: superuser, isDir: isDir}
	if p == nil {
		r.acl = modeACL(mode &^ defaultUmask)
		return r, nil
	}
	if p.Owner != "" {
		r.owner = p.Owner
	}
	if p.Group != "" {
		r.group = p.Group
	}
	r.sticky = p.Sticky
	var err error
	if r.acl, err = parseEntries(p.ACL, true); err != nil {
		return r, err
	}
	return r, nil
}

// record is the opposite of posix.rights.
func (r rights) record() *posix {
	p := &posix{ACL: r.acl.String(), Sticky: r.sticky}
	if r.owner != superuser {
		p.Owner = r.owner
	}
	if r.group != superuser {
		p.Group = r.group
	}
	return p
}

// mode is the permissions as x-ms-permissions shows them; a plus says that the
// ACL has more.
func (r rights) mode() string {
	middle := r.acl.perm(aceGroup)
	if e := r.acl.find(false, aceMask, ""); e != nil {
		middle = e.Perm
	}
	b := []byte(r.acl.perm(aceUser).String() + middle.String() + r.acl.perm(aceOther).String())
	if r.sticky {
		if b[8] == 'x' {
			b[8] = 't'
		} else {
			b[8] = 'T'
		}
	}
	if len(r.acl) > 3 {
		b = append(b, '+')
	}
	return string(b)
}

// allows decides whether someone may do all of want, by Microsoft's access check
// algorithm: owner, named users, groups, others, of which the first that is about
// the caller decides, but groups go together.
func (r rights) allows(who *actor, want perm) bool {
	if who.super() {
		return true
	}
	has := func(p perm) bool { return p&want == want }
	if who.id == r.owner {
		return has(r.acl.perm(aceUser))
	}
	mask := r.acl.mask()
	if e := r.acl.find(false, aceUser, who.id); e != nil {
		return has(e.Perm & mask)
	}
	for _, e := range r.acl {
		if e.Default || e.Kind != aceGroup {
			continue
		}
		id := e.ID
		if id == "" {
			id = r.group
		}
		if who.in(id) && has(e.Perm&mask) {
			return true
		}
	}
	return has(r.acl.perm(aceOther) & mask)
}

// child is the rights of something new in this directory. A nil mode is that of
// a request that says nothing.
func (r rights) child(owner string, isDir bool, mode *uint16, umask uint16) rights {
	out := rights{owner: owner, group: r.group, isDir: isDir}
	full := uint16(fileMode)
	if isDir {
		full = dirMode
	}
	for _, e := range r.acl {
		if e.Default {
			if isDir {
				out.acl = append(out.acl, e)
			}
			e.Default = false
			out.acl = append(out.acl, e)
		}
	}
	if out.acl == nil {
		if mode == nil {
			mode = &full
		}
		out.acl = modeACL(*mode &^ umask)
		return out
	}
	out.acl.sort()
	if mode != nil {
		// As POSIX has it, beside a default ACL the mode only takes away.
		middle := aceGroup
		if out.acl.find(false, aceMask, "") != nil {
			middle = aceMask
		}
		for kind, p := range map[string]perm{aceUser: perm(*mode >> 6 & 7), middle: perm(*mode >> 3 & 7), aceOther: perm(*mode & 7)} {
			if e := out.acl.find(false, kind, ""); e != nil {
				e.Perm &= p
			}
		}
	}
	return out
}

// actor is on whose behalf a path is used. A nil actor may do everything.
type actor struct {
	// id is the object ID of the principal, or "" of one that is not known by
	// name, as with account keys.
	id     string
	groups []string
	// bound tells that only ACLs allow the actor anything.
	bound bool
}

func (a *actor) super() bool { return a == nil || !a.bound }

// in reports whether the actor is a member of the group, or the group itself:
// an entry may name any object.
func (a *actor) in(group string) bool {
	return a.id == group || slices.Contains(a.groups, group)
}

// owner is who owns what the actor makes.
func (a *actor) owner() string {
	if a == nil || a.id == "" {
		return superuser
	}
	return a.id
}
