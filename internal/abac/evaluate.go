package abac

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/azimuth-ml/azimuth/internal/glob"
)

// expression is a part of a condition that holds or does not.
type expression interface {
	holds(*request) (bool, error)
}

type conjunction []expression

func (c conjunction) holds(r *request) (bool, error) {
	for _, e := range c {
		if ok, err := e.holds(r); err != nil || !ok {
			return false, err
		}
	}
	return true, nil
}

type disjunction []expression

func (d disjunction) holds(r *request) (bool, error) {
	for _, e := range d {
		if ok, err := e.holds(r); err != nil || ok {
			return ok, err
		}
	}
	return false, nil
}

type negation struct{ of expression }

func (n negation) holds(r *request) (bool, error) {
	ok, err := n.of.holds(r)
	return err == nil && !ok, err
}

// actionMatches are patterns of actions, in lower case.
type actionMatches []string

func (a actionMatches) holds(r *request) (bool, error) {
	for _, p := range a {
		if glob.Match(p, r.action) {
			return true, nil
		}
	}
	return false, nil
}

// subOperationMatches are names of suboperations, in lower case.
type subOperationMatches []string

func (s subOperationMatches) holds(r *request) (bool, error) {
	for _, p := range s {
		for _, have := range r.facts.SubOperations {
			if glob.Match(p, strings.ToLower(have)) {
				return true, nil
			}
		}
	}
	return false, nil
}

type exists Attribute

func (e exists) holds(r *request) (bool, error) {
	v, err := r.values(Attribute(e))
	return len(v) > 0, err
}

// quantifier says which values of both sides must compare.
type quantifier int

const (
	single quantifier = iota
	anyOfAny
	allOfAny
	anyOfAll
	allOfAll
)

func quantifierOf(name string) (quantifier, bool) {
	switch strings.ToLower(name) {
	case "foranyofanyvalues":
		return anyOfAny, true
	case "forallofanyvalues":
		return allOfAny, true
	case "foranyofallvalues":
		return anyOfAll, true
	case "forallofallvalues":
		return allOfAll, true
	}
	return single, false
}

type comparison struct {
	left, right operand
	over        quantifier
	operator    operator
}

func (c *comparison) holds(r *request) (bool, error) {
	left, err := c.left.resolve(r)
	if err != nil || len(left) == 0 {
		return false, err
	}
	right, err := c.right.resolve(r)
	if err != nil || len(right) == 0 {
		return false, err
	}
	// Without a quantifier both sides have one value; should an attribute have
	// more, one of them will do.
	everyLeft := c.over == allOfAny || c.over == allOfAll
	everyRight := c.over == anyOfAll || c.over == allOfAll
	for _, l := range left {
		if c.compares(l, right, everyRight) != everyLeft {
			return !everyLeft, nil
		}
	}
	return everyLeft, nil
}

func (c *comparison) compares(l string, right []string, every bool) bool {
	for _, v := range right {
		if (c.operator.compare(l, v) != c.operator.negated) != every {
			return !every
		}
	}
	return every
}

func (o operand) resolve(r *request) ([]string, error) {
	if o.attribute == nil {
		return o.values, nil
	}
	v, err := r.values(*o.attribute)
	if err != nil {
		return nil, fmt.Errorf("attribute %s: %w", o.attribute, err)
	}
	return v, nil
}

// valueType is what an operator compares.
type valueType int

const (
	anyValue valueType = iota
	stringValue
	boolValue
	numericValue
	dateTimeValue
	guidValue
)

// check refuses a value that is not of the type.
func (v valueType) check(t token) error {
	ok, what := true, ""
	switch v {
	case stringValue:
		ok, what = t.kind == text, "a string in quotes"
	case boolValue:
		_, ok = parseBool(t.text)
		what = "true or false"
	case numericValue:
		_, err := strconv.ParseInt(t.text, 10, 64)
		ok, what = err == nil, "an integer"
	case dateTimeValue:
		_, ok = parseTime(t.text)
		what = "a time such as '2022-06-01T00:00:00.0Z'"
	case guidValue:
		_, ok = parseGUID(t.text)
		what = "a GUID"
	}
	if !ok {
		return fmt.Errorf("%s is not %s", t, what)
	}
	return nil
}

func parseBool(s string) (value, ok bool) {
	switch strings.ToLower(s) {
	case "true":
		return true, true
	case "false":
		return false, true
	}
	return false, false
}

func parseTime(s string) (time.Time, bool) {
	t, err := time.Parse(time.RFC3339Nano, s)
	return t, err == nil
}

func parseGUID(s string) (uuid.UUID, bool) {
	if len(s) != 36 {
		return uuid.UUID{}, false
	}
	id, err := uuid.Parse(s)
	return id, err == nil
}

// operator compares one value with another.
type operator struct {
	name    string
	typ     valueType
	negated bool
	compare func(left, right string) bool
}

// operatorOf finds an operator by its name, in any case.
func operatorOf(name string) (operator, bool) {
	op := operator{name: name}
	rest := strings.ToLower(name)
	for prefix, typ := range map[string]valueType{
		"string": stringValue, "bool": boolValue, "numeric": numericValue, "datetime": dateTimeValue, "guid": guidValue,
	} {
		if strings.HasPrefix(rest, prefix) {
			op.typ, rest = typ, rest[len(prefix):]
			break
		}
	}
	if strings.HasPrefix(rest, "not") {
		op.negated, rest = true, rest[len("not"):]
	}
	switch op.typ {
	case stringValue:
		bare, ignore := strings.CutSuffix(rest, "ignorecase")
		op.compare = stringOperator(bare, ignore)
	case boolValue:
		if rest == "equals" {
			op.compare = func(l, r string) bool {
				a, ok := parseBool(l)
				b, ok2 := parseBool(r)
				return ok && ok2 && a == b
			}
		}
	case guidValue:
		if rest == "equals" {
			op.compare = func(l, r string) bool {
				a, ok := parseGUID(l)
				b, ok2 := parseGUID(r)
				return ok && ok2 && a == b
			}
		}
	case numericValue:
		if holds := ordering(rest); holds != nil && (!op.negated || rest == "equals") {
			op.compare = func(l, r string) bool {
				a, err := strconv.ParseInt(l, 10, 64)
				b, err2 := strconv.ParseInt(r, 10, 64)
				return err == nil && err2 == nil && holds(compareInts(a, b))
			}
		}
	case dateTimeValue:
		if holds := ordering(rest); holds != nil && (!op.negated || rest == "equals") {
			op.compare = func(l, r string) bool {
				a, ok := parseTime(l)
				b, ok2 := parseTime(r)
				return ok && ok2 && holds(a.Compare(b))
			}
		}
	}
	return op, op.compare != nil
}

func compareInts(a, b int64) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// ordering is what an operator of numbers and times makes of a comparison.
func ordering(name string) func(int) bool {
	switch name {
	case "equals":
		return func(c int) bool { return c == 0 }
	case "greaterthan":
		return func(c int) bool { return c > 0 }
	case "greaterthanequals":
		return func(c int) bool { return c >= 0 }
	case "lessthan":
		return func(c int) bool { return c < 0 }
	case "lessthanequals":
		return func(c int) bool { return c <= 0 }
	}
	return nil
}

func stringOperator(name string, ignoreCase bool) func(l, r string) bool {
	var compare func(l, r string) bool
	switch name {
	case "equals":
		compare = func(l, r string) bool { return l == r }
	case "startswith":
		compare = strings.HasPrefix
	case "like":
		compare = like
	default:
		return nil
	}
	if !ignoreCase {
		return compare
	}
	return func(l, r string) bool { return compare(strings.ToLower(l), strings.ToLower(r)) }
}

// like matches s against a pattern in which * stands for any characters and ?
// for one; a backslash before either takes that meaning away.
func like(s, pattern string) bool {
	text, pat := []rune(s), []rune(pattern)
	i, j := 0, 0
	star, from := -1, 0 // the last *, and where its match ends
	for i < len(text) {
		if j < len(pat) {
			c, escaped := pat[j], false
			if c == '\\' && j+1 < len(pat) && (pat[j+1] == '*' || pat[j+1] == '?') {
				c, escaped = pat[j+1], true
			}
			switch {
			case c == '*' && !escaped:
				star, from = j, i
				j++
				continue
			case c == '?' && !escaped || c == text[i]:
				i++
				j++
				if escaped {
					j++
				}
				continue
			}
		}
		if star < 0 {
			return false
		}
		from++
		i, j = from, star+1
	}
	for j < len(pat) && pat[j] == '*' {
		j++
	}
	return j == len(pat)
}
