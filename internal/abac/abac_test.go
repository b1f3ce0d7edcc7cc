package abac

import (
	"errors"
	"strings"
	"testing"

	"github.com/azimuth-ml/azimuth/internal/store"
)

const (
	readBlob  = "Microsoft.Storage/storageAccounts/blobServices/containers/blobs/read"
	writeRole = "Microsoft.Authorization/roleAssignments/write"
)

// facts are of a request with some attributes, by how conditions write them.
func facts(sub string, values map[string]string) *Facts {
	all := map[Attribute][]string{}
	for name, v := range values {
		p := &parser{text: name}
		if err := p.next(); err != nil {
			panic(err)
		}
		a, err := p.readAttribute()
		if err != nil {
			panic(err)
		}
		all[a] = strings.Split(v, "|")
	}
	f := &Facts{Attribute: func(_ store.Tx, a Attribute) ([]string, error) { return all[a], nil }}
	if sub != "" {
		f.SubOperations = []string{sub}
	}
	return f
}

func TestHolds(t *testing.T) {
	const container = `@Resource[Microsoft.Storage/storageAccounts/blobServices/containers:name]`
	const tag = `@Request[Microsoft.Storage/storageAccounts/blobServices/containers/blobs/tags:Project<$key_case_sensitive$>]`
	const keys = `@Resource[Microsoft.Storage/storageAccounts/blobServices/containers/blobs/tags&$keys$&]`
	const version = `@Request[Microsoft.Storage/storageAccounts/blobServices/containers/blobs:versionId]`
	const role = `@Request[Microsoft.Authorization/roleAssignments:RoleDefinitionId]`
	named := `((!(ActionMatches{'` + readBlob + `'})) OR (` + container + ` StringEquals 'box'))`
	delegated := `(
		(!(ActionMatches{'` + writeRole + `'}))
		OR
		(` + role + ` ForAnyOfAnyValues:GuidEquals {acdd72a7-3385-48ef-bd42-f606fba81ae7, '5E467623-bb1f-42f4-a55d-6e525e11384b'})
	)`
	for _, tc := range []struct {
		condition, action, sub string
		values                 map[string]string
		want                   bool
	}{
		{named, readBlob, "", map[string]string{container: "box"}, true},
		{named, strings.ToUpper(readBlob), "", map[string]string{container: "box"}, true},
		{named, readBlob, "", map[string]string{container: "Box"}, false},
		{named, readBlob, "", nil, false},
		{named, writeRole, "", nil, true},
		{`!(ActionMatches{'Microsoft.Storage/*/read', 'x/y'} && NOT SubOperationMatches{'Blob.List'}) || ` + container + ` StringLikeIgnoreCase 'B?X*'`,
			readBlob, "Blob.List", nil, true},
		{`!(ActionMatches{'Microsoft.Storage/*/read'} && NOT SubOperationMatches{'Blob.List'}) || ` + container + ` StringLikeIgnoreCase 'B?X*'`,
			readBlob, "", map[string]string{container: "box-one"}, true},
		{delegated, writeRole, "", map[string]string{role: "ACDD72A7-3385-48ef-bd42-f606fba81ae7"}, true},
		{delegated, writeRole, "", map[string]string{role: "5e467623-bb1f-42f4-a55d-6e525e11384b"}, true},
		{delegated, writeRole, "", map[string]string{role: "8e3af657-a8ff-443c-a75c-2fe8c4bcb635"}, false},
		{tag + ` StringEquals 'Cascade'`, readBlob, "", map[string]string{tag: "Cascade"}, true},
		{strings.Replace(tag, "Project", "project", 1) + ` StringEquals 'Cascade'`, readBlob, "", map[string]string{tag: "Cascade"}, false},
		{tag + ` StringNotEquals 'Cascade'`, readBlob, "", map[string]string{tag: "Baker"}, true},
		{tag + ` StringNotEquals 'Cascade'`, readBlob, "", nil, false},
		{keys + ` ForAllOfAnyValues:StringEquals {'Project', 'Program'}`, readBlob, "", map[string]string{keys: "Project"}, true},
		{keys + ` ForAllOfAnyValues:StringEquals {'Project', 'Program'}`, readBlob, "", map[string]string{keys: "Project|Other"}, false},
		{keys + ` ForAnyOfAnyValues:StringEquals {'Project', 'Program'}`, readBlob, "", map[string]string{keys: "Project|Other"}, true},
		{`NOT Exists ` + version, readBlob, "", nil, true},
		{`Exists ` + version, readBlob, "", map[string]string{version: "2022-06-01T00:00:00.0000000Z"}, true},
		{version + ` DateTimeEquals '2022-06-01T00:00:00.0Z'`, readBlob, "", map[string]string{version: "2022-06-01T00:00:00.0000000Z"}, true},
		{version + ` DateTimeLessThan '2022-06-01T00:00:00.0Z'`, readBlob, "", map[string]string{version: "2022-05-01T00:00:00.1234567Z"}, true},
		{version + ` DateTimeGreaterThanEquals '2022-06-01T00:00:00.0Z'`, readBlob, "", map[string]string{version: "2022-05-01T00:00:00.1234567Z"}, false},
		{`@Resource[Microsoft.Storage/storageAccounts:isHnsEnabled] BoolEquals true`, readBlob, "",
			map[string]string{"@Resource[Microsoft.Storage/storageAccounts:isHnsEnabled]": "true"}, true},
		{`@Resource[Microsoft.Storage/storageAccounts:isHnsEnabled] BoolNotEquals 'true'`, readBlob, "",
			map[string]string{"@Resource[Microsoft.Storage/storageAccounts:isHnsEnabled]": "true"}, false},
		// the examples of Microsoft's reference of operators
		{`{'red', 'blue'} ForAnyOfAnyValues:StringEquals {'blue', 'green'}`, "", "", nil, true},
		{`{'red', 'blue'} ForAnyOfAnyValues:StringEquals {'orange', 'green'}`, "", "", nil, false},
		{`{'red', 'blue'} ForAllOfAnyValues:StringEquals {'orange', 'red', 'blue'}`, "", "", nil, true},
		{`{'red', 'blue'} ForAllOfAnyValues:StringEquals {'red', 'green'}`, "", "", nil, false},
		{`{10, 20} ForAnyOfAllValues:NumericLessThan {15, 18}`, "", "", nil, true},
		{`{10, 20} ForAllOfAllValues:NumericLessThan {5, 15, 18}`, "", "", nil, false},
		{`{10, 20} ForAllOfAllValues:NumericLessThan {25, 30}`, "", "", nil, true},
		{`{10, 20} ForAllOfAllValues:NumericLessThan {15, 25, 30}`, "", "", nil, false},
		{`'abcd' StringLike 'a*c?'`, "", "", nil, true},
		{`'abcd' StringLike 'A*C?'`, "", "", nil, false},
		{`'abcd' StringLike 'a*c'`, "", "", nil, false},
		{`'a*c?' StringLike 'a\*c\?'`, "", "", nil, true},
		{`'abcc' StringLike 'a\*c\?'`, "", "", nil, false},
		{`'abcd' StringStartsWithIgnoreCase 'AB'`, "", "", nil, true},
		{`'abcd' StringNotStartsWith 'b'`, "", "", nil, true},
		{`{'a', 'b'} ForAllOfAllValues:StringNotEquals {'c', 'd'}`, "", "", nil, true},
	} {
		c, err := Parse(tc.condition)
		if err != nil {
			t.Errorf("%s: %v", tc.condition, err)
			continue
		}
		if got, err := c.Holds(nil, tc.action, facts(tc.sub, tc.values)); err != nil || got != tc.want {
			t.Errorf("%s with %s %s %v: %t, %v", tc.condition, tc.action, tc.sub, tc.values, got, err)
		}
	}
}

func TestRefusals(t *testing.T) {
	for condition, why := range map[string]string{
		"":                                      "neither an attribute nor a value",
		"   ":                                   "neither an attribute nor a value",
		"ActionMatches":                         "the end is not {",
		"ActionMatches{}":                       "is no value",
		"ActionMatches{ab}":                     "takes strings",
		"(ActionMatches{'a'}":                   "the end is not )",
		"ActionMatches{'a'})":                   "too much",
		"ActionMatches{'a'} ActionMatches{'b'}": "too much",
		"ActionMatches{'a'} AND ActionMatches{'b'} OR ActionMatches{'c'}": "parentheses",
		"@Resource[a:b] StringEqual 'x'":                                  "no operator StringEqual",
		"@Resource[a:b] NumericNotLessThan 3":                             "no operator",
		"@Resource[a:b] ForAnyOfAnyValues:BoolEquals {true}":              "no operator",
		"@Resource[a:b] ForSomeValues:StringEquals {'a'}":                 "no operator",
		"@Resource[a:b] StringEquals {'a', 'b'}":                          "ForAnyOfAnyValues:StringEquals",
		"@Resource[a:b] StringEquals x":                                   "string in quotes",
		"@Resource[a:b] GuidEquals 'x'":                                   "a GUID",
		"@Resource[a:b] NumericEquals 1.5":                                "an integer",
		"@Resource[a:b] DateTimeEquals 'yesterday'":                       "a time",
		"@Resource[a:b] BoolEquals maybe":                                 "true or false",
		"@Resource[a:b] StringEquals 'x":                                  "not closed",
		"@Resource[a:b StringEquals 'x'":                                  "@Source[name]",
		"@Resource[] StringEquals 'x'":                                    "@Source[name]",
		"@Tenant[a:b] StringEquals 'x'":                                   "no source",
		"@Resource[tags:<$key_case_sensitive$>] StringEquals 'x'":         "no key",
		"Exists 'x'":                        "Exists is of an attribute",
		"@Resource[a:b]":                    "no operator",
		"# @Resource[a:b] StringEquals 'x'": "means nothing",
		strings.Repeat("(", 100) + "ActionMatches{'a'}" + strings.Repeat(")", 100): "deep",
		strings.Repeat("!", 100) + "ActionMatches{'a'}":                            "deep",
		"'" + strings.Repeat("x", MaxLength) + "' StringEquals 'x'":                "at most",
	} {
		_, err := Parse(condition)
		if syntax := (*SyntaxError)(nil); !errors.As(err, &syntax) || !strings.Contains(err.Error(), why) {
			t.Errorf("%.60s: %v, not %q", condition, err, why)
		}
	}
}

func TestTold(t *testing.T) {
	for text, want := range map[string]bool{
		"@Request[Microsoft.Authorization/roleAssignments:PrincipalType] StringEqualsIgnoreCase 'User'":                    true,
		"@Environment[UtcNow] DateTimeGreaterThan '2026-01-01T00:00:00Z'":                                                  true,
		"@Environment[isPrivateLink] BoolEquals true":                                                                      true,
		"@Environment[Microsoft.Network/virtualHubs] StringEquals 'x'":                                                     false,
		"@Principal[Microsoft.Directory/CustomSecurityAttributes/Id:Engineering_Project] StringEquals 'x'":                 false,
		"@Resource[Microsoft.Storage/storageAccounts/blobServices/containers/blobs/tags] StringEquals 'x'":                 false,
		"@Resource[Microsoft.Storage/storageAccounts/blobServices/containers:name<$key_case_sensitive$>] StringEquals 'x'": false,
		"@Resource[Microsoft.Storage/storageAccounts/blobServices/containers/metadata:a] StringEquals 'x'":                 false,
	} {
		c, err := Parse(text)
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		if got := c.Attributes()[0].Told(); got != want {
			t.Errorf("%s: %t", text, got)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(`((!(ActionMatches{'a/b'} AND NOT SubOperationMatches{'Blob.List'})) OR (@Resource[a:b] StringEquals 'box'))`)
	f.Add(`@Request[a/tags:Project<$key_case_sensitive$>] ForAllOfAnyValues:StringLike {'a*', 'b\?'} && Exists @Request[a/tags&$keys$&]`)
	f.Add(`@Environment[UtcNow] DateTimeLessThan '2022-06-01T00:00:00.0Z' || 3 NumericEquals 4`)
	f.Fuzz(func(t *testing.T, text string) {
		c, err := Parse(text)
		if err != nil {
			if syntax := (*SyntaxError)(nil); !errors.As(err, &syntax) || syntax.Offset < 0 || syntax.Offset > len(text) {
				t.Fatalf("%q: %v", text, err)
			}
			return
		}
		one, err := c.Holds(nil, "a/b", nil)
		if err != nil {
			t.Fatal(err)
		}
		if two, _ := c.Holds(nil, "a/b", &Facts{}); two != one {
			t.Errorf("%q holds or not", text)
		}
	})
}

func BenchmarkParseAndHold(b *testing.B) {
	const text = `((!(ActionMatches{'` + readBlob + `'})) OR (@Resource[Microsoft.Storage/storageAccounts/blobServices/containers:name] StringEquals 'box'))`
	f := &Facts{Attribute: func(store.Tx, Attribute) ([]string, error) { return []string{"box"}, nil }}
	b.ReportAllocs()
	for b.Loop() {
		c, err := Parse(text)
		if err != nil {
			b.Fatal(err)
		}
		if ok, err := c.Holds(nil, readBlob, f); err != nil || !ok {
			b.Fatal(ok, err)
		}
	}
}
