package kql

import (
	"math"
	"strings"
)

// setKey is a value in the form in which equal values are equal keys.
type setKey struct {
	k kind
	n int64
	s string
}

func keyOf(v Value) setKey {
	switch v.k {
	case kInt:
		return setKey{k: kLong, n: v.n}
	case kReal:
		if f := v.Real(); f == math.Trunc(f) && math.Abs(f) < 1<<53 {
			return setKey{k: kLong, n: int64(f)}
		}
		return setKey{k: kReal, n: v.n}
	case kGUID:
		return setKey{k: kString, s: v.s}
	case kArray, kBag, kJSON:
		return setKey{k: kJSON, s: string(v.appendDynamic(nil))}
	}
	return setKey{k: v.k, n: v.n, s: v.s}
}

// valueSet is what stands in the parentheses of `in`.
type valueSet struct {
	fold    bool
	strings map[string]struct{}
	others  map[setKey]struct{}
	list    []string // the strings in order, for has_any and has_all
}

func (s *valueSet) len() int { return len(s.strings) + len(s.others) }

// add adds a value, and returns how many were new.
func (s *valueSet) add(v Value) int {
	before := s.len()
	if v.k == kString {
		if s.strings == nil {
			s.strings = map[string]struct{}{}
		}
		key := v.s
		if s.fold {
			key = strings.ToLower(key)
		}
		s.strings[key] = struct{}{}
		if s.len() > before {
			s.list = append(s.list, v.s)
		}
		return s.len() - before
	}
	if s.others == nil {
		s.others = map[setKey]struct{}{}
	}
	s.others[keyOf(v)] = struct{}{}
	return s.len() - before
}

// addAll adds the elements of an array, or a value itself.
func (s *valueSet) addAll(v Value) {
	if e := v.expand(); e.k == kArray {
		for _, it := range e.d.items {
			s.add(it)
		}
		return
	}
	s.add(v)
}

func (s *valueSet) with(v Value) *valueSet {
	s.addAll(v)
	return s
}

func (s *valueSet) has(v Value) bool {
	if v.k == kString {
		key := v.s
		if s.fold {
			key = strings.ToLower(key)
		}
		_, ok := s.strings[key]
		return ok
	}
	if v.k == kGUID {
		if _, ok := s.strings[v.s]; ok {
			return true
		}
	}
	if len(s.others) == 0 || v.k == kNull {
		return false
	}
	_, ok := s.others[keyOf(v)]
	return ok
}
