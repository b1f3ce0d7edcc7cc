package template

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"
)

func testEnv() *Env {
	n := 0
	return &Env{
		Subscription: map[string]any{"id": "/subscriptions/sub", "subscriptionId": "sub", "tenantId": "ten"},
		Group:        map[string]any{"id": "/subscriptions/sub/resourceGroups/rg", "name": "rg", "location": "westeurope"},
		Tenant:       map[string]any{"tenantId": "ten"},
		Deployment:   map[string]any{"name": "dep"},
		Environment:  map[string]any{"name": "AzureCloud", "suffixes": map[string]any{"storage": "core.windows.net"}},
		Zones: func(_, _, location string) []string {
			if location == "westeurope" {
				return []string{"1", "2", "3"}
			}
			return nil
		},
		Now:     time.Date(2026, 6, 1, 12, 30, 5, 0, time.UTC),
		NewGUID: func() string { n++; return fmt.Sprintf("guid-%d", n) },
	}
}

// fake knows every resource.
type fake struct{}

func (fake) Reference(_ context.Context, id, version string) (map[string]any, error) {
	return map[string]any{"id": id, "location": "here", "properties": map[string]any{"of": id, "version": version, "n": 3.0}}, nil
}

func (fake) List(_ context.Context, action, id, _ string, _ map[string]any) (any, error) {
	return map[string]any{"keys": []any{map[string]any{"value": action + " of " + id}}}, nil
}

func parsed(t testing.TB, s string) *Template {
	t.Helper()
	tpl, err := load(s)
	if err != nil {
		t.Fatal(err)
	}
	return tpl
}

func load(s string) (*Template, error) {
	var doc map[string]any
	if err := json.Unmarshal([]byte(s), &doc); err != nil {
		return nil, err
	}
	if doc == nil {
		return nil, fmt.Errorf("no object")
	}
	doc["$schema"], doc["contentVersion"] = "https://schema.management.azure.com/schemas/2019-04-01/deploymentTemplate.json#", "1.0.0.0"
	if doc["resources"] == nil {
		doc["resources"] = []any{}
	}
	return Parse(doc)
}

// evaluate gives the value of an expression, as an output.
func evaluate(t testing.TB, expr string) (any, error) {
	t.Helper()
	b, err := json.Marshal(expr)
	if err != nil {
		t.Fatal(err)
	}
	tpl := parsed(t, `{
		"parameters": {"a": {"type": "string", "defaultValue": "A"}, "now": {"type": "string", "defaultValue": "[utcNow('yyyy-MM-dd HH:mm')]"},
			"list": {"type": "array", "defaultValue": [3, 1, 2]}, "o": {"type": "object", "defaultValue": {"X": {"y": [1, "two"]}, "nil": null}}},
		"variables": {"v": "[concat(parameters('a'), 'v')]", "copy": [{"name": "squares", "count": 4, "input": "[mul(copyIndex('squares'), copyIndex('squares', 0))]"}]},
		"functions": [{"namespace": "me", "members": {"twice": {"parameters": [{"name": "s", "type": "string"}], "output": {"type": "string", "value": "[concat(parameters('s'), parameters('s'))]"}}}}],
		"resources": [{"type": "A.B/c", "apiVersion": "2020-01-01", "name": "one"}, {"type": "A.B/c", "apiVersion": "2020-01-01", "name": "none", "condition": false}],
		"outputs": {"out": {"type": "object", "value": {"v": `+string(b)+`}}}}`)
	params, err := tpl.Parameters(t.Context(), testEnv(), nil)
	if err != nil {
		t.Fatal(err)
	}
	plan, err := tpl.Expand(t.Context(), testEnv(), params)
	if err != nil {
		return nil, err
	}
	out, err := plan.Outputs(t.Context(), fake{})
	if err != nil {
		return nil, err
	}
	return out["out"].Value.(map[string]any)["v"], nil
}

func TestFunctions(t *testing.T) {
	for expr, want := range map[string]string{
		`plain`:                         `"plain"`,
		`[[escaped]`:                    `"[escaped]"`,
		`[concat('it''s ', 1, true())]`: `"it's 1True"`,
		`[concat(createArray(1), createArray(2))]`:                             `[1,2]`,
		`[parameters('A')]`:                                                    `"A"`,
		`[parameters('now')]`:                                                  `"2026-06-01 12:30"`,
		`[variables('V')]`:                                                     `"Av"`,
		`[variables('squares')]`:                                               `[0,1,4,9]`,
		`[me.twice('ab')]`:                                                     `"abab"`,
		`[parameters('o').x.Y[1]]`:                                             `"two"`,
		`[parameters('o').?z.?y]`:                                              `null`,
		`[parameters('o')['X'].y[add(0,0)]]`:                                   `1`,
		`[if(equals(1,1),'y',parameters('nope'))]`:                             `"y"`,
		`[and(true(), or(false(), not(false())))]`:                             `true`,
		`[coalesce(null(), parameters('o').nil, 7)]`:                           `7`,
		`[add(2, mul(3, sub(div(9,2), mod(7,4))))]`:                            `5`,
		`[min(parameters('list'))]`:                                            `1`,
		`[max(4, -2, 9)]`:                                                      `9`,
		`[int('12')]`:                                                          `12`,
		`[bool('TRUE')]`:                                                       `true`,
		`[float('1.5')]`:                                                       `1.5`,
		`[less('a','b')]`:                                                      `true`,
		`[greaterOrEquals(2,2)]`:                                               `true`,
		`[toUpper(trim('  x '))]`:                                              `"X"`,
		`[padLeft(12, 5, '0')]`:                                                `"00012"`,
		`[replace('aXbX','X','--')]`:                                           `"a--b--"`,
		`[split('a,b;c', createArray(',',';'))]`:                               `["a","b","c"]`,
		`[join(createArray('a',1),'-')]`:                                       `"a-1"`,
		`[substring('abcdef',2,3)]`:                                            `"cde"`,
		`[skip('abc',1)]`:                                                      `"bc"`,
		`[take(parameters('list'), 2)]`:                                        `[3,1]`,
		`[first('abc')]`:                                                       `"a"`,
		`[last(parameters('list'))]`:                                           `2`,
		`[length(parameters('o'))]`:                                            `2`,
		`[indexOf('ABC','c')]`:                                                 `2`,
		`[lastIndexOf(createArray(1,2,1),1)]`:                                  `2`,
		`[contains(parameters('o'),'x')]`:                                      `true`,
		`[empty('')]`:                                                          `true`,
		`[startsWith('Abc','aB')]`:                                             `true`,
		`[union(createArray(1,2),createArray(2,3))]`:                           `[1,2,3]`,
		`[union(json('{"a":{"b":1}}'),json('{"a":{"c":2}}'))]`:                 `{"a":{"b":1,"c":2}}`,
		`[intersection(createArray(1,2),createArray(2,3))]`:                    `[2]`,
		`[range(3,2)]`:                                                         `[3,4]`,
		`[items(json('{"b":1,"a":2}'))]`:                                       `[{"key":"a","value":2},{"key":"b","value":1}]`,
		`[objectKeys(json('{"b":1,"a":2}'))]`:                                  `["a","b"]`,
		`[flatten(createArray(createArray(1),createArray(2)))]`:                `[1,2]`,
		`[createObject('k', 1)]`:                                               `{"k":1}`,
		`[tryGet(parameters('o'),'X','y',5)]`:                                  `null`,
		`[base64ToString(base64('häh'))]`:                                      `"häh"`,
		`[base64ToJson('eyJhIjoxfQ==').a]`:                                     `1`,
		`[dataUriToString(dataUri('hi'))]`:                                     `"hi"`,
		`[uri('https://a.b/c/','d')]`:                                          `"https://a.b/c/d"`,
		`[uriComponent('a b/é')]`:                                              `"a%20b%2F%C3%A9"`,
		`[uriComponentToString('a%20b')]`:                                      `"a b"`,
		`[string(json('{"a":[1,true]}'))]`:                                     `"{\"a\":[1,true]}"`,
		`[format('{0}-{1:D3}-{{x}}-{2,4}', 'a', 7, 'r')]`:                      `"a-007-{x}-   r"`,
		`[format('{0:N0}', 1234567)]`:                                          `"1,234,567"`,
		`[dateTimeAdd('2026-01-31T00:00:00Z','P1DT2H')]`:                       `"2026-02-01T02:00:00Z"`,
		`[dateTimeAdd('2026-01-31T00:00:00Z','-P1Y','yyyy-MM')]`:               `"2025-01"`,
		`[dateTimeToEpoch('1970-01-02T00:00:00Z')]`:                            `86400`,
		`[dateTimeFromEpoch(86400)]`:                                           `"1970-01-02T00:00:00Z"`,
		`[guid('a','b')]`:                                                      `"` + guidOf([]string{"a", "b"}) + `"`,
		`[resourceGroup().location]`:                                           `"westeurope"`,
		`[subscription().subscriptionId]`:                                      `"sub"`,
		`[environment().suffixes.storage]`:                                     `"core.windows.net"`,
		`[resourceId('A.B/c','n')]`:                                            `"/subscriptions/sub/resourceGroups/rg/providers/A.B/c/n"`,
		`[resourceId('other','A.B/c/d','n','m')]`:                              `"/subscriptions/sub/resourceGroups/other/providers/A.B/c/n/d/m"`,
		`[resourceId('s','o','A.B/c','n')]`:                                    `"/subscriptions/s/resourceGroups/o/providers/A.B/c/n"`,
		`[subscriptionResourceId('A.B/c','n')]`:                                `"/subscriptions/sub/providers/A.B/c/n"`,
		`[tenantResourceId('A.B/c','n')]`:                                      `"/providers/A.B/c/n"`,
		`[extensionResourceId('/x/y','A.B/c','n')]`:                            `"/x/y/providers/A.B/c/n"`,
		`[reference('one').version]`:                                           `"2020-01-01"`,
		`[reference('one','2021-01-01','full').location]`:                      `"here"`,
		`[listKeys('one','2020-01-01').keys[0].value]`:                         `"listKeys of /subscriptions/sub/resourceGroups/rg/providers/A.B/c/one"`,
		`[pickZones('a','b','westeurope',2)]`:                                  `["1","2"]`,
		`[pickZones('a','b','westus')]`:                                        `[]`,
		`[map(parameters('list'), lambda('x', mul(lambdaVariables('x'), 2)))]`: `[6,2,4]`,
		`[filter(parameters('list'), lambda('x', greater(lambdaVariables('x'), 1)))]`:                       `[3,2]`,
		`[sort(parameters('list'), lambda('a','b', less(lambdaVariables('a'), lambdaVariables('b'))))]`:     `[1,2,3]`,
		`[reduce(parameters('list'), 0, lambda('s','x', add(lambdaVariables('s'), lambdaVariables('x'))))]`: `6`,
		`[toObject(createArray('a','b'), lambda('x', lambdaVariables('x')), lambda('x', 1))]`:               `{"a":1,"b":1}`,
		`[groupBy(createArray('aa','b'), lambda('x', take(lambdaVariables('x'),1)))]`:                       `{"a":["aa"],"b":["b"]}`,
		`[cidrSubnet('10.0.0.0/16',24,2)]`:                             `"10.0.2.0/24"`,
		`[cidrHost('10.0.0.0/24',0)]`:                                  `"10.0.0.1"`,
		`[parseCidr('10.1.2.3/24').broadcast]`:                         `"10.1.2.255"`,
		`[shallowMerge(createArray(json('{"a":1}'),json('{"a":2}')))]`: `{"a":2}`,
	} {
		got, err := evaluate(t, expr)
		if err != nil {
			t.Errorf("%s: %v", expr, err)
			continue
		}
		if s := compact(got); s != want {
			t.Errorf("%s = %s, want %s", expr, s, want)
		}
	}
	for expr, want := range map[string]string{
		`[nope()]`:                            "'nope' is not valid",
		`[concat(]`:                           "ends too early",
		`[concat('a'`:                         "", // no bracket at the end: text
		`[concat('a]`:                         "ends too early",
		`[parameters('zz')]`:                  "'zz' is not found",
		`[variables('zz')]`:                   "'zz' is not found",
		`[parameters('o').nope]`:              "'nope' doesn't exist, available properties are 'X, nil'",
		`[parameters('list')[9]]`:             "out of bounds",
		`[utcNow()]`:                          "default value of a parameter",
		`[newGuid()]`:                         "default value of a parameter",
		`[copyIndex()]`:                       "not expected at this location",
		`[div(1,0)]`:                          "divide by zero",
		`[toUpper(1)]`:                        "to be a string",
		`[toUpper()]`:                         "requires '1' argument(s) while '0' were provided",
		`[reference('none')]`:                 "condition is false",
		`[reference('unknown')]`:              "not defined in the template",
		`[resourceId('A.B/c')]`:               "argument",
		`[range(0, 20000)]`:                   "10000",
		`[me.nope('x')]`:                      "'me.nope' is not valid",
		`[json('{')]`:                         "expects JSON",
		`[substring('abc', 2, 9)]`:            "within the string",
		"[" + strings.Repeat("a(", 300) + "]": "too deep",
		`[format('{0:Q}', 1)]`:                "Azimuth does not know",
	} {
		_, err := evaluate(t, expr)
		if want == "" && err == nil {
			continue
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", expr, err, want)
		}
	}
}

func TestParameters(t *testing.T) {
	const tpl = `{"parameters": {
		"name": {"type": "string", "minLength": 3, "maxLength": 5},
		"size": {"type": "int", "minValue": 1, "maxValue": 3, "defaultValue": 2},
		"kind": {"type": "string", "allowedValues": ["a", "b"], "defaultValue": "a"},
		"secret": {"type": "secureString", "defaultValue": "[concat(parameters('name'), newGuid())]"},
		"flags": {"type": "array", "defaultValue": [], "allowedValues": ["x", "y"]}}}`
	for given, want := range map[string]string{
		`{"name":{"value":"abc"}}`:                         "",
		`{"name":{"value":"abc"},"flags":{"value":["y"]}}`: "",
		`{}`:                          "'name' is not provided",
		`{"name":{"value":"ab"}}`:     "Length of the value should be greater than or equal to '3'",
		`{"name":{"value":"abcdef"}}`: "less than or equal to '5'",
		`{"name":{"value":7}}`:        "Expected 'String, Uri'. Actual 'Integer'",
		`{"name":{"value":"abc"},"size":{"value":4}}`:      "The value should be less than or equal to '3'",
		`{"name":{"value":"abc"},"kind":{"value":"c"}}`:    "not part of the allowed value(s): 'a,b'",
		`{"name":{"value":"abc"},"flags":{"value":["z"]}}`: "not part of the allowed",
		`{"name":{"value":"abc"},"more":{"value":"c"}}`:    "The template parameters 'more' in the parameters file are not valid",
		`{"name":"abc"}`: "with a property 'value'",
	} {
		var g map[string]any
		if err := json.Unmarshal([]byte(given), &g); err != nil {
			t.Fatal(err)
		}
		got, err := parsed(t, tpl).Parameters(t.Context(), testEnv(), g)
		if want != "" {
			if err == nil || !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), "Deployment template validation failed: '") {
				t.Errorf("%s: %v, want %q", given, err, want)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", given, err)
			continue
		}
		if v := got["secret"]; v.Value != "abcguid-1" || v.Type != "SecureString" || !v.Secure() {
			t.Errorf("secret = %+v", v)
		}
	}
}

const planned = `{
	"parameters": {"n": {"type": "int", "defaultValue": 2}},
	"resources": [
		{"type": "A.B/hub", "apiVersion": "2020-01-01", "name": "hub", "location": "[resourceGroup().location]", "properties": {"k": "[parameters('n')]"},
			"resources": [{"type": "leaf", "apiVersion": "2020-01-01", "name": "l", "dependsOn": ["hub"]}]},
		{"type": "A.B/spoke", "apiVersion": "2020-01-01", "name": "[format('s{0}', copyIndex(1))]", "copy": {"name": "spokes", "count": "[parameters('n')]"},
			"dependsOn": ["[resourceId('A.B/hub', 'hub')]", "[resourceId('A.B/gone', 'g')]"],
			"properties": {"copy": [{"name": "disks", "count": 2, "input": {"lun": "[copyIndex('disks')]", "of": "[copyIndex()]"}}]}},
		{"type": "A.B/gone", "apiVersion": "2020-01-01", "name": "g", "condition": "[greater(parameters('n'), 5)]"},
		{"type": "A.B/hub/providers/locks", "apiVersion": "2020-01-01", "name": "hub/Microsoft.Authorization/l", "dependsOn": ["spokes"], "properties": {"x": "[reference('s1').n]"}},
		{"type": "Microsoft.Authorization/locks", "apiVersion": "2020-01-01", "name": "m", "scope": "A.B/hub/hub"}
	]}`

func TestPlan(t *testing.T) {
	tpl := parsed(t, planned)
	params, err := tpl.Parameters(t.Context(), testEnv(), nil)
	if err != nil {
		t.Fatal(err)
	}
	plan, err := tpl.Expand(t.Context(), testEnv(), params)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, r := range plan.Resources {
		got = append(got, fmt.Sprint(strings.TrimPrefix(r.ID, "/subscriptions/sub/resourceGroups/rg/providers/"), r.Deployed(), r.DependsOn))
	}
	want := []string{
		"A.B/hub/hub true []", "A.B/hub/hub/leaf/l true [0]", "A.B/spoke/s1 true [0]", "A.B/spoke/s2 true [0]", "A.B/gone/g false []",
		"A.B/hub/hub/providers/Microsoft.Authorization/locks/l true [2 3]",
	}
	for i := range want {
		if want[i] = strings.Replace(strings.Replace(want[i], " true", "true", 1), " false", "false", 1); strings.Replace(got[i], " ", "", 1) != strings.Replace(want[i], " ", "", 1) {
			t.Errorf("resource %d = %q, want %q", i, got[i], want[i])
		}
	}
	body, err := plan.Body(t.Context(), 3, fake{})
	if err != nil || compact(body) != `{"properties":{"disks":[{"lun":0,"of":1},{"lun":1,"of":1}]}}` {
		t.Errorf("body = %s, %v", compact(body), err)
	}
	if body, err = plan.Body(t.Context(), 5, fake{}); err != nil || compact(body) != `{"properties":{"x":3}}` {
		t.Errorf("body = %s, %v", compact(body), err)
	}
	if body, err = plan.Body(t.Context(), 5, nil); err != nil || compact(body) != `{"properties":{"x":"[reference('s1').n]"}}` {
		t.Errorf("body before = %s, %v", compact(body), err)
	}
}

func TestPlanRefused(t *testing.T) {
	for resources, want := range map[string]string{
		`[{"type":"A.B/c","apiVersion":"1","name":"n","dependsOn":["m"]},{"type":"A.B/c","apiVersion":"1","name":"m","dependsOn":["n"]}]`: "Circular dependency",
		`[{"type":"A.B/c","apiVersion":"1","name":"n","dependsOn":["zz"]}]`:                                                               "'zz' is not defined in the template",
		`[{"type":"A.B/c","apiVersion":"1","name":"n/m"}]`:                                                                                "incorrect segment lengths",
		`[{"type":"A.B/c","apiVersion":"1","name":"n"},{"type":"A.B/c","apiVersion":"1","name":"N"}]`:                                     "defined multiple times",
		`[{"type":"A.B/c","name":"n"}]`: "'apiVersion'",
		`[{"type":"A.B/c","apiVersion":"1","name":"n","copy":{"name":"x","count":900}}]`: "from 0 to 800",
		`[{"type":"A.B/c","apiVersion":"1","name":"[reference('x').y]"}]`:                "'reference' is not expected at this location",
		`[{"type":"A.B/c","apiVersion":"1","name":"n","condition":"yes"}]`:               "must be a boolean",
		`7`: "must be an array",
	} {
		tpl := parsed(t, `{"resources":`+resources+`}`)
		if _, err := tpl.Expand(t.Context(), testEnv(), nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", resources, err, want)
		}
	}
}

// TestNested tells the scopes of a nested template's expressions apart.
func TestNested(t *testing.T) {
	const nested = `{"variables": {"v": "outer", "odd": "[[x]"}, "parameters": {"n": {"type": "int", "defaultValue": 2}}, "resources": [{"type": "Microsoft.Resources/deployments", "apiVersion": "2022-09-01", "name": "in",
		"properties": {"mode": "Incremental", %s "template": {"variables": {"v": "inner"}, "resources": [
			{"name": "[variables('v')]", "p": "[variables('odd')]"}, {"copy": {"count": "[parameters('n')]"}, "name": "[concat(variables('v'), copyIndex())]"}]}}}]}`
	body := func(options string) string {
		plan, err := parsed(t, fmt.Sprintf(nested, options)).Expand(t.Context(), testEnv(), map[string]Value{"n": {"Int", int64(2)}})
		if err != nil {
			t.Fatal(err)
		}
		b, err := plan.Body(t.Context(), 0, fake{})
		if err != nil {
			t.Fatal(err)
		}
		return compact(b)
	}
	if got := body(`"expressionEvaluationOptions":{"scope":"inner"},`); !strings.Contains(got, `"name":"[variables('v')]"`) {
		t.Errorf("inner: %s", got)
	}
	got := body("")
	for _, want := range []string{`"name":"outer"`, `"p":"[[x]"`, `"count":2`, `"name":"[concat(variables('v'), copyIndex())]"`, `"n":{"value":2}`, `"v":"outer"`, `"scope":"inner"`} {
		if !strings.Contains(got, want) {
			t.Errorf("outer lacks %s: %s", want, got)
		}
	}
}

func TestSymbolicNames(t *testing.T) {
	tpl := parsed(t, `{"languageVersion": "2.0", "resources": {
		"net": {"existing": true, "type": "A.B/net", "apiVersion": "2020-01-01", "name": "n"},
		"vms": {"type": "A.B/vm", "apiVersion": "2020-01-01", "name": "[format('v{0}', copyIndex())]", "copy": {"name": "vms", "count": 2}, "properties": {"net": "[reference('net').of]"}},
		"last": {"type": "A.B/last", "apiVersion": "2020-01-01", "name": "l", "dependsOn": ["vms"]}},
		"outputs": {"all": {"type": "array", "value": "[map(references('vms'), lambda('v', lambdaVariables('v').of))]"}}}`)
	plan, err := tpl.Expand(t.Context(), testEnv(), nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range plan.Resources {
		if want := map[string]int{"last": 2}[r.Symbol]; len(r.DependsOn) != want {
			t.Errorf("%s depends on %v", r.Symbol, r.DependsOn)
		}
	}
	out, err := plan.Outputs(t.Context(), fake{})
	if err != nil || len(out["all"].Value.([]any)) != 2 {
		t.Errorf("outputs: %+v, %v", out, err)
	}
}

// TestCostIsBounded evaluates what would never end.
func TestCostIsBounded(t *testing.T) {
	var b strings.Builder
	b.WriteString(`{"variables": {"v0": "[range(0, 1000)]"`)
	for i := 1; i < 40; i++ {
		fmt.Fprintf(&b, `, "v%d": "[concat(variables('v%d'), variables('v%d'))]"`, i, i-1, i-1)
	}
	b.WriteString(`}, "resources": [{"type": "A.B/c", "apiVersion": "1", "name": "[string(length(variables('v39')))]"}]}`)
	if _, err := parsed(t, b.String()).Expand(t.Context(), testEnv(), nil); err == nil || !strings.Contains(err.Error(), "too many steps") {
		t.Errorf("it ended with %v", err)
	}
}

func FuzzExpression(f *testing.F) {
	for _, s := range []string{"concat('a', 1)", "parameters('a').b[0].?c", "me.f(x())", "'it''s'", "-1.5", "f(", "a.b.c(1)[?2]"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if n, err := parseExpression(s); err == nil {
			calls(n, func(call) {})
		}
		if _, err := evaluate(t, "["+s+"]"); err != nil && err.Error() == "" {
			t.Error("an error without words")
		}
	})
}

func FuzzTemplate(f *testing.F) {
	f.Add(planned)
	f.Add(`{"languageVersion":"2.0","resources":{"a":{"type":"A.B/c","apiVersion":"1","name":"n","copy":{"name":"c","count":3,"mode":"serial","batchSize":2}}}}`)
	f.Fuzz(func(t *testing.T, s string) {
		tpl, err := load(s)
		if err != nil {
			return
		}
		params, err := tpl.Parameters(t.Context(), testEnv(), nil)
		if err != nil {
			return
		}
		plan, err := tpl.Expand(t.Context(), testEnv(), params)
		if err != nil {
			return
		}
		for i := range plan.Resources {
			if _, err := plan.Body(t.Context(), i, fake{}); err != nil {
				return
			}
		}
		_, _ = plan.Outputs(t.Context(), fake{})
	})
}
