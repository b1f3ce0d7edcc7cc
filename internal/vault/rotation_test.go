package vault_test

import (
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/security/keyvault/azkeys"
)

// TestRotation has keys rotate by themselves as the cloud's clock goes on.
func TestRotation(t *testing.T) {
	ctx, p := t.Context(), start(t)
	c := p.keys(t, "kv", "officer")
	made, err := c.CreateKey(ctx, "k", azkeys.CreateKeyParameters{Kty: ptr(azkeys.KeyTypeEC), Tags: map[string]*string{"a": ptr("b")}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	got, err := c.GetKeyRotationPolicy(ctx, "k", nil)
	if err != nil || len(got.LifetimeActions) != 1 || *got.LifetimeActions[0].Action.Type != azkeys.KeyRotationPolicyActionNotify {
		t.Errorf("the policy at first is %+v, %v", got.KeyRotationPolicy, err)
	}
	rotate := func(after, before *string) []*azkeys.LifetimeAction {
		return []*azkeys.LifetimeAction{{
			Action:  &azkeys.LifetimeActionType{Type: ptr(azkeys.KeyRotationPolicyActionRotate)},
			Trigger: &azkeys.LifetimeActionTrigger{TimeAfterCreate: after, TimeBeforeExpiry: before},
		}}
	}
	set := func(expiry *string, actions []*azkeys.LifetimeAction) error {
		_, err := c.UpdateKeyRotationPolicy(ctx, "k", azkeys.KeyRotationPolicy{
			Attributes: &azkeys.KeyRotationPolicyAttributes{ExpiryTime: expiry}, LifetimeActions: actions,
		}, nil)
		return err
	}
	for what, err := range map[string]error{
		"a life too short":        set(ptr("P27D"), nil),
		"no duration":             set(ptr("PT5H"), nil),
		"a rotation too early":    set(nil, rotate(ptr("P6D"), nil)),
		"a rotation too late":     set(ptr("P30D"), rotate(ptr("P24D"), nil)),
		"two triggers":            set(ptr("P90D"), rotate(ptr("P30D"), ptr("P30D"))),
		"no trigger":              set(ptr("P90D"), rotate(nil, nil)),
		"the same action twice":   set(nil, append(rotate(ptr("P30D"), nil), rotate(ptr("P60D"), nil)...)),
		"an action there is none": set(nil, []*azkeys.LifetimeAction{{Action: &azkeys.LifetimeActionType{Type: ptr(azkeys.KeyRotationPolicyAction("Fly"))}, Trigger: &azkeys.LifetimeActionTrigger{TimeAfterCreate: ptr("P30D")}}}),
	} {
		refused(t, what, err, 400, "BadParameter")
	}
	versions := func() int {
		t.Helper()
		page, err := c.NewListKeyPropertiesVersionsPager("k", nil).NextPage(ctx)
		if err != nil {
			t.Fatal(err)
		}
		return len(page.Value)
	}
	if err := set(ptr("P90D"), rotate(ptr("P1M"), nil)); err != nil {
		t.Fatal(err)
	}
	p.clock.Step(30 * 24 * time.Hour) // to 31 January
	if n := versions(); n != 1 {
		t.Errorf("%d versions before the time", n)
	}
	p.clock.Step(24 * time.Hour)
	now, err := c.GetKey(ctx, "k", "", nil)
	if err != nil {
		t.Fatal(err)
	}
	if *now.Key.KID == *made.Key.KID || !now.Attributes.Created.Equal(time.Date(2026, 2, 1, 0, 0, 0, 0, time.UTC)) ||
		!now.Attributes.Expires.Equal(time.Date(2026, 5, 2, 0, 0, 0, 0, time.UTC)) || *now.Tags["a"] != "b" || *now.Key.Crv != azkeys.CurveNameP256 {
		t.Errorf("the new version is %+v %+v", now.Key, now.Attributes)
	}
	p.clock.Step(65 * 24 * time.Hour) // two more, of 1 March and 1 April
	if n := versions(); n != 4 {
		t.Errorf("%d versions, want 4", n)
	}
	// From now on by the expiry, which is 30 June; and nothing more happens without
	// a policy.
	if err := set(ptr("P90D"), rotate(nil, ptr("P30D"))); err != nil {
		t.Fatal(err)
	}
	p.clock.Step(56 * 24 * time.Hour) // to 2 June
	if n := versions(); n != 5 {
		t.Errorf("%d versions, want 5", n)
	}
	if err := set(nil, nil); err != nil {
		t.Fatal(err)
	}
	p.clock.Step(365 * 24 * time.Hour)
	if n := versions(); n != 5 {
		t.Errorf("%d versions, want 5", n)
	}
	resp, _ := p.do(t, "kv", "nobody", "GET", "/keys/k/rotationpolicy?api-version=7.4", "")
	if resp.StatusCode != 403 {
		t.Errorf("nobody reads the policy: %d", resp.StatusCode)
	}
}
