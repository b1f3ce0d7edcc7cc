package provider

import "strings"

// These are the ways in which azurerm's arguments differ from the properties of
// Azure's documents.

// oneOf says a boolean as one of two words, which Azure may answer in any case.
func oneOf(yes, no string) conversion {
	return conversion{
		send: func(v any) any {
			if asBool(v) {
				return yes
			}
			return no
		},
		read: func(v any) any { return strings.EqualFold(asString(v), yes) },
	}
}

// enabled is the commonest pair of words.
func enabled() conversion { return oneOf("Enabled", "Disabled") }

// inverted is a boolean that Azure asks the other way round.
func inverted() conversion {
	not := func(v any) any { return !asBool(v) }
	return conversion{send: not, read: not}
}

// onlyTrue is a boolean that is sent only when it is set.
func onlyTrue() conversion {
	return conversion{send: func(v any) any {
		if asBool(v) {
			return true
		}
		return nil
	}}
}

// location is a region name in any spelling.
func location() conversion {
	norm := func(v any) any { return normalizeLocation(asString(v)) }
	return conversion{send: norm, read: norm}
}

// words is a list that Azure keeps as one string with a separator between.
func words(sep string) conversion {
	return conversion{
		send: func(v any) any { return strings.Join(stringList(v), sep) },
		read: func(v any) any {
			var out []any
			for _, w := range strings.Split(asString(v), strings.TrimSpace(sep)) {
				if w = strings.TrimSpace(w); w != "" {
					out = append(out, w)
				}
			}
			return out
		},
	}
}

// keyed is a list of strings that Azure keeps as objects with one property.
func keyed(property string) conversion {
	return conversion{
		send: func(v any) any {
			out := []any{}
			for _, s := range stringList(v) {
				out = append(out, map[string]any{property: s})
			}
			return out
		},
		read: func(v any) any {
			out := []any{}
			for _, e := range asList(v) {
				if s := asString(asObject(e)[property]); s != "" {
					out = append(out, s)
				}
			}
			return out
		},
	}
}

// spelled gives back the listed spelling of a word that Azure may answer in any
// case.
func spelled(names ...string) conversion {
	return conversion{read: func(v any) any {
		for _, n := range names {
			if strings.EqualFold(n, asString(v)) {
				return n
			}
		}
		return v
	}}
}

// tags are never null, neither in what is sent nor in the state that is read.
func tags() field { return in("tags", "tags").sentAs(map[string]any{}) }

// region is the location argument of a top-level resource.
func region() field { return in("location", "location").as(location()) }

// identity is the identity block of Azure's resources. none is what is sent when
// there is no block: {"type":"None"} for most services.
func identity(none any) field {
	f := block("identity", "identity",
		in("type", "type").as(conversion{
			read: func(v any) any { return identityType(asString(v)) },
		}),
		in("identity_ids", "userAssignedIdentities").sentAs(nil).as(conversion{
			send: func(v any) any {
				ids := stringList(v)
				if len(ids) == 0 {
					return nil
				}
				m := make(map[string]any, len(ids))
				for _, id := range ids {
					m[id] = map[string]any{}
				}
				return m
			},
			read: func(v any) any {
				ids := []any{}
				for id := range asObject(v) {
					ids = append(ids, canonicalID(id))
				}
				return ids
			},
		}),
		out("principal_id", "principalId").orElse(""),
		out("tenant_id", "tenantId").orElse(""),
	)
	f.always, f.empty = none != nil, none
	return f.ifThere(func(o map[string]any) bool {
		t := asString(o["type"])
		return t != "" && !strings.EqualFold(t, "None")
	})
}

// noIdentity is sent by services where azurerm says so when there is no block.
func noIdentity() any { return map[string]any{"type": "None", "userAssignedIdentities": nil} }

// identityType writes an identity type as azurerm does, whatever spacing and case
// the service answers in.
func identityType(t string) string {
	var system, user bool
	for part := range strings.SplitSeq(t, ",") {
		switch strings.ToLower(strings.TrimSpace(part)) {
		case "systemassigned":
			system = true
		case "userassigned":
			user = true
		}
	}
	switch {
	case system && user:
		return "SystemAssigned, UserAssigned"
	case system:
		return "SystemAssigned"
	case user:
		return "UserAssigned"
	}
	return t
}
