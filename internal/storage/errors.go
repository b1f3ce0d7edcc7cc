package storage

import (
	"errors"
	"fmt"
	"net/http"
	"syscall"

	"github.com/azimuth-ml/azimuth/internal/store"
)

// Error is a refusal in the storage services' own terms.
type Error struct {
	// Status is the HTTP status.
	Status int
	// Code is the storage error code, for example BlobNotFound.
	Code string
	// Message is Azure's sentence for it.
	Message string
	// Details are further elements of the error document, in order.
	Details []Detail
}

// Detail is one additional element of an error document.
type Detail struct{ Name, Value string }

// Error implements error.
func (e *Error) Error() string { return e.Code + ": " + e.Message }

// With returns a copy of e with one more detail.
func (e *Error) With(name, value string) *Error {
	c := *e
	c.Details = append(append([]Detail(nil), e.Details...), Detail{name, value})
	return &c
}

// HasCode reports whether err is a storage error with the code.
func HasCode(err error, code string) bool {
	var e *Error
	return errors.As(err, &e) && e.Code == code
}

const authFailedMessage = "Server failed to authenticate the request. Make sure the value of Authorization header is formed correctly including the signature."

// Refuse returns the storage error for a code. Statuses and sentences are those
// of Microsoft's "Common REST API error codes" and of the lists of each service.
func Refuse(code string) *Error {
	status, message := describe(code)
	return &Error{Status: status, Code: code, Message: message}
}

func describe(code string) (int, string) {
	switch code {
	case "AccountRequiresHttps":
		return http.StatusBadRequest, "The account being accessed does not support http."
	case "AppendPositionConditionNotMet":
		return http.StatusPreconditionFailed, "The append position condition specified was not met."
	case "AuthenticationFailed":
		return http.StatusForbidden, authFailedMessage
	case "AuthorizationFailure":
		return http.StatusForbidden, "This request is not authorized to perform this operation."
	case "AuthorizationPermissionMismatch":
		return http.StatusForbidden, "This request is not authorized to perform this operation using this permission."
	case "AuthorizationProtocolMismatch":
		return http.StatusForbidden, "This request is not authorized to perform this operation using this protocol."
	case "AuthorizationResourceTypeMismatch":
		return http.StatusForbidden, "This request is not authorized to perform this operation using this resource type."
	case "AuthorizationServiceMismatch":
		return http.StatusForbidden, "This request is not authorized to perform this operation using this service."
	case "AuthorizationSourceIPMismatch":
		return http.StatusForbidden, "This request is not authorized to perform this operation using this source IP."
	case "BlobAlreadyExists":
		return http.StatusConflict, "The specified blob already exists."
	case "BlobNotFound":
		return http.StatusNotFound, "The specified blob does not exist."
	case "BlobOverwritten":
		return http.StatusConflict, "The blob has been recreated since the previous snapshot was taken."
	case "BlockCountExceedsLimit":
		return http.StatusConflict, "The committed block count cannot exceed the maximum limit of 50,000 blocks."
	case "BlockListTooLong":
		return http.StatusBadRequest, "The block list may not contain more than 50,000 blocks."
	case "CannotVerifyCopySource":
		return http.StatusNotFound, "The specified resource does not exist."
	case "ConditionNotMet":
		return http.StatusPreconditionFailed, "The condition specified using HTTP conditional header(s) is not met."
	case "ContainerAlreadyExists":
		return http.StatusConflict, "The specified container already exists."
	case "ContainerNotFound":
		return http.StatusNotFound, "The specified container does not exist."
	case "CopyIdMismatch":
		return http.StatusConflict, "The specified copy ID did not match the copy ID for the pending copy operation."
	case "CorsPreflightFailure":
		return http.StatusForbidden, "CORS not enabled or no matching rule found for this request."
	case "Crc64Mismatch":
		return http.StatusBadRequest, "The CRC64 value specified in the request did not match with the CRC64 value calculated by the server."
	case "DirectoryIsNotEmpty":
		return http.StatusConflict, "This operation is not permitted on a non-empty directory."
	case "EmptyMetadataKey":
		return http.StatusBadRequest, "The key for one of the metadata key-value pairs is empty."
	case "InsufficientAccountPermissions":
		return http.StatusForbidden, "The account being accessed does not have sufficient permissions to execute this operation."
	case "InternalError":
		return http.StatusInternalServerError, "Server encountered an internal error. Please try again after some time."
	case "InvalidAuthenticationInfo":
		return http.StatusUnauthorized, "Server failed to authenticate the request. Please refer to the information in the www-authenticate header."
	case "InvalidBlobOrBlock":
		return http.StatusBadRequest, "The specified blob or block content is invalid."
	case "InvalidBlobType":
		return http.StatusConflict, "The blob type is invalid for this operation."
	case "InvalidBlockId":
		return http.StatusBadRequest, "The specified block ID is invalid. The block ID must be Base64-encoded."
	case "InvalidBlockList":
		return http.StatusBadRequest, "The specified block list is invalid."
	case "InvalidFlushPosition":
		return http.StatusBadRequest, "The uploaded data is not contiguous or the position query parameter value is not equal to the length of the file after appending the uploaded data."
	case "InvalidHeaderValue":
		return http.StatusBadRequest, "The value for one of the HTTP headers is not in the correct format."
	case "InvalidInput":
		return http.StatusBadRequest, "One of the request inputs is not valid."
	case "InvalidMd5":
		return http.StatusBadRequest, "The MD5 value specified in the request is invalid. The MD5 value must be 128 bits and Base64-encoded."
	case "InvalidMetadata":
		return http.StatusBadRequest, "The metadata specified is invalid. It has characters that are not permitted."
	case "InvalidPageRange":
		return http.StatusRequestedRangeNotSatisfiable, "The page range specified is invalid."
	case "InvalidQueryParameterValue":
		return http.StatusBadRequest, "Value for one of the query parameters specified in the request URI is invalid."
	case "InvalidRange":
		return http.StatusRequestedRangeNotSatisfiable, "The range specified is invalid for the current size of the resource."
	case "InvalidRenameSourcePath":
		return http.StatusConflict, "The source directory cannot be the same as the destination directory, nor can the destination be a subdirectory of the source directory."
	case "InvalidSourceOrDestinationResourceType":
		return http.StatusConflict, "The source and destination resource type must be identical."
	case "InvalidResourceName":
		// "specifed" is Azure's own spelling.
		return http.StatusBadRequest, "The specifed resource name contains invalid characters."
	case "InvalidUri":
		return http.StatusBadRequest, "The requested URI does not represent any resource on the server."
	case "InvalidXmlDocument":
		return http.StatusBadRequest, "XML specified is not syntactically valid."
	case "InvalidXmlNodeValue":
		return http.StatusBadRequest, "The value for one of the XML nodes is not in the correct format."
	case "KeyBasedAuthenticationNotPermitted":
		return http.StatusForbidden, "Key based authentication is not permitted on this storage account."
	case "LeaseNotPresentWithBlobOperation":
		return http.StatusPreconditionFailed, "There is currently no lease on the blob."
	case "LeaseNotPresentWithContainerOperation":
		return http.StatusPreconditionFailed, "There is currently no lease on the container."
	case "LeaseNotPresentWithFileOperation":
		return http.StatusPreconditionFailed, "There is currently no lease on the file."
	case "LeaseNotPresentWithShareOperation":
		return http.StatusPreconditionFailed, "There is currently no lease on the share."
	case "MaxBlobSizeConditionNotMet":
		return http.StatusPreconditionFailed, "The max blob size condition specified was not met."
	case "Md5Mismatch":
		return http.StatusBadRequest, "The MD5 value specified in the request did not match with the MD5 value calculated by the server."
	case "MetadataTooLarge":
		return http.StatusBadRequest, "The metadata specified exceeds the maximum permissible limit."
	case "MissingContentLengthHeader":
		return http.StatusLengthRequired, "Content-Length HTTP header is missing."
	case "MissingRequiredHeader":
		return http.StatusBadRequest, "An HTTP header that's mandatory for this request is not specified."
	case "MissingRequiredQueryParameter":
		return http.StatusBadRequest, "A query parameter that's mandatory for this request is not specified."
	case "MissingRequiredXmlNode":
		return http.StatusBadRequest, "XML specified is missing a mandatory node."
	case "NoAuthenticationInformation":
		return http.StatusUnauthorized, "Server failed to authenticate the request. Please refer to the information in the www-authenticate header."
	case "OperationTimedOut":
		return http.StatusInternalServerError, "The operation could not be completed within the permitted time."
	case "OutOfRangeInput":
		return http.StatusBadRequest, "One of the request inputs is out of range."
	case "OutOfRangeQueryParameterValue":
		return http.StatusBadRequest, "One of the query parameters specified in the request URI is outside the permissible range."
	case "OperationNotAllowedOnRootBlob":
		// The status is a guess: no reference says it.
		return http.StatusForbidden, "The specified operation is not allowed on the root blob."
	case "NoPendingCopyOperation":
		return http.StatusConflict, "There is currently no pending copy operation."
	case "PathAlreadyExists":
		return http.StatusConflict, "The specified path already exists."
	case "PathConflict":
		return http.StatusConflict, "The specified path, or an element of the path, exists and its resource type is invalid for this operation."
	case "PathIsTooDeep":
		return http.StatusBadRequest, "The specified path has too many segments."
	case "PendingCopyOperation":
		return http.StatusConflict, "There is currently a pending copy operation."
	case "PreviousSnapshotCannotBeNewer":
		return http.StatusBadRequest, "The prevsnapshot query parameter value cannot be newer than snapshot query parameter value."
	case "PreviousSnapshotNotFound":
		return http.StatusConflict, "The previous snapshot is not found."
	case "PublicAccessNotPermitted":
		return http.StatusConflict, "Public access is not permitted on this storage account."
	case "RenameDestinationParentPathNotFound":
		return http.StatusNotFound, "The parent directory of the destination path does not exist."
	case "RequestBodyTooLarge":
		return http.StatusRequestEntityTooLarge, "The request body is too large and exceeds the maximum permissible limit."
	case "ResourceTypeMismatch":
		return http.StatusConflict, "The resource type specified in the request does not match the type of the resource."
	case "SequenceNumberConditionNotMet":
		return http.StatusPreconditionFailed, "The sequence number condition specified was not met."
	case "SnapshotsPresent":
		return http.StatusConflict, "This operation is not permitted because the blob has snapshots."
	case "SourceConditionNotMet":
		return http.StatusPreconditionFailed, "The source condition specified using HTTP conditional header(s) is not met."
	case "SourcePathNotFound":
		return http.StatusNotFound, "The source path for a rename operation does not exist."
	case "ResourceNotFound":
		return http.StatusNotFound, "The specified resource does not exist."
	case "CannotDeleteFileOrDirectory":
		return http.StatusConflict, "The file or directory could not be deleted because it is in use by an SMB client."
	case "CommandsInBatchActOnDifferentPartitions":
		return http.StatusBadRequest, "All commands in a batch must operate on same entity group."
	case "DirectoryNotEmpty":
		return http.StatusConflict, "The specified directory is not empty."
	case "DuplicatePropertiesSpecified":
		return http.StatusBadRequest, "A property is specified more than one time."
	case "EntityAlreadyExists":
		return http.StatusConflict, "The specified entity already exists."
	case "EntityTooLarge":
		return http.StatusBadRequest, "The entity is larger than the maximum allowed size (1MB)."
	case "FileOAuthManagementApiRestrictedToSrp":
		// The status is a guess: no reference says it.
		return http.StatusForbidden, "This management API operation over OAuth is restricted to the storage resource provider."
	case "InvalidFileOrDirectoryPathName":
		return http.StatusBadRequest, "The specified file or directory path name contains invalid characters or is too long."
	case "KeyValueTooLarge":
		return http.StatusBadRequest, "The key property exceeds the maximum allowed size."
	case "MessageNotFound":
		return http.StatusNotFound, "The specified message does not exist."
	case "ParentNotFound":
		return http.StatusNotFound, "The specified parent path does not exist."
	case "PopReceiptMismatch":
		return http.StatusBadRequest, "The specified pop receipt did not match the pop receipt for a dequeued message."
	case "PropertiesNeedValue":
		return http.StatusBadRequest, "The values are not specified for all properties in the entity."
	case "PropertyNameInvalid":
		return http.StatusBadRequest, "The property name is invalid."
	case "PropertyNameTooLong":
		return http.StatusBadRequest, "The property name exceeds the maximum allowed length (255)."
	case "PropertyValueTooLarge":
		return http.StatusBadRequest, "The property value exceeds the maximum allowed size (64KB). If the property value is a string, it is UTF-16 encoded and the maximum number of characters should be 32K or less."
	case "QueueAlreadyExists":
		return http.StatusConflict, "The specified queue already exists."
	case "QueueNotFound":
		return http.StatusNotFound, "The specified queue does not exist."
	case "ReadOnlyAttribute":
		return http.StatusConflict, "The specified file is read-only and cannot be modified at this time."
	case "ResourceAlreadyExists":
		return http.StatusConflict, "The specified resource already exists."
	case "ShareAlreadyExists":
		return http.StatusConflict, "The specified share already exists."
	case "ShareHasSnapshots":
		return http.StatusConflict, "The share has snapshots and the operation requires no snapshots."
	case "ShareNotFound":
		return http.StatusNotFound, "The specified share does not exist."
	case "ShareSizeLimitReached":
		// The status is a guess: no reference says it.
		return http.StatusConflict, "The specified share has reached its size limit."
	case "SharingViolation":
		return http.StatusConflict, "The specified resource may be in use by an SMB client."
	case "TableAlreadyExists":
		return http.StatusConflict, "The table specified already exists."
	case "TableNotFound":
		return http.StatusNotFound, "The table specified does not exist."
	case "TooManyProperties":
		return http.StatusBadRequest, "The entity contains more properties than allowed."
	case "UpdateConditionNotSatisfied":
		return http.StatusPreconditionFailed, "The update condition specified in the request was not satisfied."
	case "UnauthorizedBlobOverwrite":
		return http.StatusForbidden, "This request is not authorized to perform blob overwrites."
	case "UnsatisfiableCondition":
		return http.StatusBadRequest, "The request includes an unsatisfiable condition for this operation."
	case "UnsupportedHeader":
		return http.StatusBadRequest, "One of the HTTP headers specified in the request is not supported."
	case "UnsupportedHttpVerb":
		return http.StatusMethodNotAllowed, "The resource doesn't support specified Http Verb."
	case "UnsupportedQueryParameter":
		return http.StatusBadRequest, "One of the query parameters specified in the request URI is not supported."
	case "UnsupportedXmlNode":
		return http.StatusBadRequest, "One of the XML nodes specified in the request body is not supported."
	}
	return http.StatusInternalServerError, "Server encountered an internal error. Please try again after some time."
}

// NotImplemented names what Azure would do here and Azimuth does not.
func NotImplemented(operation string) *Error {
	return &Error{
		Status:  http.StatusNotImplemented,
		Code:    "NotImplementedByAzimuth",
		Message: fmt.Sprintf("Azimuth does not implement %s.", operation),
	}
}

// AuthFailed is AuthenticationFailed with the reason Azure adds to it.
func AuthFailed(format string, args ...any) *Error {
	return Refuse("AuthenticationFailed").With("AuthenticationErrorDetail", fmt.Sprintf(format, args...))
}

// BadHeader refuses the value of a header.
func BadHeader(name, value string) *Error {
	return Refuse("InvalidHeaderValue").With("HeaderName", name).With("HeaderValue", value)
}

// MissingHeader refuses a request without a header.
func MissingHeader(name string) *Error {
	return Refuse("MissingRequiredHeader").With("HeaderName", name)
}

// BadQuery refuses the value of a query parameter.
func BadQuery(name, value, reason string) *Error {
	return Refuse("InvalidQueryParameterValue").
		With("QueryParameterName", name).With("QueryParameterValue", value).With("Reason", reason)
}

// DiskFull is the answer when there is no room. Azure has no code for it; 507
// is used because the SDKs do not retry it, as they do 500 and 503.
func DiskFull() *Error {
	return &Error{
		Status:  http.StatusInsufficientStorage,
		Code:    "InternalError",
		Message: "There is no space left on the disk of this Azimuth server. Nothing was changed.",
	}
}

// IsFull reports whether err says that there is no room on the disk.
func IsFull(err error) bool {
	return errors.Is(err, store.ErrFull) || errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}
