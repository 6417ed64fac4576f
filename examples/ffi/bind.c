/* SPDX-License-Identifier: MIT */
/* Calls a function by its types, and makes a function pointer out of a handler: ffi_call and a closure. */
#include <stdio.h>
#include <stdlib.h>
#include <ffi.h>

int fun1 (int a, int b) {
    return a + b;
}

void libffiCallTest(void) {
    ffi_type **types;  // types of the arguments
    types = malloc(sizeof(ffi_type *) * 2) ;
    types[0] = &ffi_type_sint;
    types[1] = &ffi_type_sint;
    // type of the result
    ffi_type *retType = &ffi_type_sint;

    void **args = malloc(sizeof(void *) * 2);
    int x = 1, y = 2;
    args[0] = &x;
    args[1] = &y;

    int ret;  // often seen; an ffi_arg is right, as results narrower than a word are widened to one

    ffi_cif cif;
    // the template of the call
    ffi_prep_cif(&cif, FFI_DEFAULT_ABI, 2, retType, types);
    // calls fun1
    ffi_call(&cif, fun1,  &ret, args);
    printf("libffi return func1 value: %d\n", ret);
}

// What the function does: it can be reached only through the pointer that the closure made.
void bind_func(ffi_cif *cif, char **ret, int **args, void *userdata) {
    //7.
    int value0 = *args[0];
    int value1 = *args[1];
    static char result[32];
    snprintf(result, sizeof(result), "str-%d", (value0 + value1));
    //8.
    *ret = result;
}

void libffiBindTest(void) {
    //1.
    ffi_type **argTypes;
    ffi_type *returnTypes;

    argTypes = malloc(sizeof(ffi_type *) * 2);
    argTypes[0] = &ffi_type_sint;
    argTypes[1] = &ffi_type_sint;

    returnTypes = &ffi_type_pointer;

    ffi_cif *cif = malloc(sizeof(ffi_cif));
    ffi_status status = ffi_prep_cif(cif, FFI_DEFAULT_ABI, 2, returnTypes, argTypes);
    if (status != FFI_OK) {
        printf("ffi_prep_cif return %u\n", status);
        return;
    }
    //2.
    char* (*funcInvoke)(int, int);
    //3.
    ffi_closure *closure = ffi_closure_alloc(sizeof(ffi_closure), &funcInvoke);
    //4.
    status = ffi_prep_closure_loc(closure, cif, bind_func, NULL, funcInvoke);
    if (status != FFI_OK) {
        printf("ffi_prep_closure_loc return %u\n", status);
        return;
    }
    //5.
    char *result = funcInvoke(2, 3);
    printf("libffi return func value: %s\n", result);
    ffi_closure_free(closure);
}

int main(void) {
    libffiCallTest();
    libffiBindTest();
    return 0;
}
