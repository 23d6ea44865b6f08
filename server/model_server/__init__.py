"""The CV Factory model server: loads one verified artifact and answers `/predict`."""
