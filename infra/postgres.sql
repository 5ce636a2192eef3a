-- Two databases and for each a role that gets into no other: who can write Prefect's runs code in the worker, and that
-- must not be whoever takes over the service.
\getenv kairos_password REGISTRY_PASSWORD
\getenv prefect_password PREFECT_PASSWORD
CREATE ROLE kairos LOGIN PASSWORD :'kairos_password';
CREATE ROLE prefect LOGIN PASSWORD :'prefect_password';
CREATE DATABASE kairos OWNER kairos;
CREATE DATABASE prefect OWNER prefect;
REVOKE CONNECT ON DATABASE kairos, prefect, postgres, template1 FROM PUBLIC;
