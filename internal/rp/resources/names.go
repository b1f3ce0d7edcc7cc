package resources

import (
	"context"
	"slices"
	"strings"

	"github.com/google/uuid"

	"github.com/azimuth-ml/azimuth/internal/arm"
)

func newETag() string { return uuid.NewString() }

// reserved says whether a name holds one of Microsoft's words.
// https://learn.microsoft.com/azure/azure-resource-manager/troubleshooting/error-reserved-resource-name
func reserved(name string) bool {
	name = strings.ToUpper(name)
	whole := []string{
		"ACCESS", "APP_BROWSERS", "APP_CODE", "APP_DATA", "APP_GLOBALRESOURCES", "APP_LOCALRESOURCES", "APP_THEMES",
		"APP_WEBREFERENCES", "AZURE", "BING", "BIZSPARK", "BIZTALK", "CORTANA", "DIRECTX", "DOTNET", "DYNAMICS", "EXCEL",
		"EXCHANGE", "FOREFRONT", "GROOVE", "HOLOLENS", "HYPERV", "KINECT", "LYNC", "MSDN", "O365", "OFFICE", "OFFICE365",
		"ONEDRIVE", "ONENOTE", "OUTLOOK", "POWERPOINT", "SHAREPOINT", "SKYPE", "VISIO", "VISUALSTUDIO",
	}
	return slices.Contains(whole, name) || strings.Contains(name, "MICROSOFT") || strings.Contains(name, "WINDOWS") ||
		strings.HasPrefix(name, "LOGIN") || strings.HasPrefix(name, "XBOX")
}

// checkResourceName says whether a name may be used for what has an address.
func checkResourceName() arm.Action {
	return arm.Action{Name: "checkResourceName", Handle: func(_ context.Context, req *arm.Request) (*arm.Response, error) {
		name, typ := req.Body.String("name"), req.Body.String("type")
		if name == "" || typ == "" {
			return nil, arm.BadRequest("InvalidRequestContent", "The request content was invalid and could not be deserialized: 'name and type are required'.")
		}
		status := "Allowed"
		if reserved(name) {
			status = "Reserved"
		}
		return arm.OK(arm.Doc{"name": name, "type": typ, "status": status}), nil
	}}
}
